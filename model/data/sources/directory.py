"""The captures that a source finds below a directory."""

from __future__ import annotations

from pathlib import Path

from mmtt_agent.capture.directory import below

from ..errors import DatasetError


def captures_below(directory: Path) -> list[Path]:
    """All of them, sorted.

    Raises:
        DatasetError: there is none, or something that may be one can't be reached: what is trained on is to be all
            of it.
    """
    found = below(directory)
    if found.problems:
        raise DatasetError(found.problems[0])
    return found.captures
