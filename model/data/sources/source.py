"""What a source of labelled captures is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mmtt_agent.capture import Capture

from ..labels import Labels


@dataclass(frozen=True)
class Entry:
    """A capture of a source.

    Attributes:
        name: unique in the source; its directory, if any, is the recording session.
        origin: where it is from, a repository or a network: what is left out together to test on the unseen.
        labelled: False for a capture without labels, which is of use for pretraining alone.
        licence: what the source says of the capture's; empty where it says nothing.
    """

    name: str
    path: Path
    origin: str
    labelled: bool = True
    licence: str = ""


class Source(Protocol):
    """Captures, and what their windows are. ``checksums``: whether packets with wrong ones are left out, as by Zeek."""

    checksums: bool

    def digest(self) -> str:
        """Changes with everything that the labels are made from."""

    def entries(self) -> list[Entry]:
        """The captures, always in the same order."""

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        """The labels of the capture's windows ``rows``, and counts to report, by what they count."""
