"""What a source of labelled captures is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mmtt_agent.capture import Capture
from mmtt_agent.series import SeriesBatch

from ..labels import Labels


@dataclass(frozen=True)
class Entry:
    """A capture of a source.

    Attributes:
        name: unique in the source; its directory, if any, is the recording session.
        origin: where it is from, a repository or a network.
        labelled: False for a capture without labels, which is of use for pretraining alone.
        licence: what the source says of the capture's; empty where it says nothing.
        site: what shares a network, a lab or a data set with others, and is left out together with them to test on the
            unseen; empty for the origin.
        series: whether there is no capture, and `Source.series` gives the windows.
    """

    name: str
    path: Path
    origin: str
    labelled: bool = True
    licence: str = ""
    site: str = ""
    series: bool = False

    @property
    def left_out_with(self) -> str:
        """Its site, the origin where it names none."""
        return self.site or self.origin


class Source(Protocol):
    """Captures, and what their windows are. ``checksums``: whether packets with wrong ones are left out, as by Zeek."""

    checksums: bool

    def digest(self) -> str:
        """Changes with everything that the labels are made from."""

    def entries(self) -> list[Entry]:
        """The captures, always in the same order."""

    def series(self, entry: Entry) -> tuple[SeriesBatch, np.ndarray, list[Labels], int]:
        """The windows of an entry without a capture, whether their times are known, their labels, and how many flows
        were too short."""

    def labels(self, entry: Entry, capture: Capture, rows: np.ndarray) -> tuple[list[Labels], dict[str, int]]:
        """The labels of the capture's windows ``rows``, and counts to report, by what they count."""
