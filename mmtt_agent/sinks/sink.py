"""What takes lines."""

from __future__ import annotations

from typing import Protocol


class SinkError(Exception):
    """A place that nothing can be written to; one line that names it and the remedy."""


class PlaceError(SinkError):
    """It is called what no place can be called; trying again would not help."""


class StalledError(Exception):
    """Who reads takes nothing, and is not waited for any more.

    Args:
        waiting: bytes of what was written last that have not been taken.
    """

    def __init__(self, why: str, waiting: int) -> None:
        super().__init__(why)
        self.waiting = waiting


class Sink(Protocol):
    """What takes lines.

    A file and standard output raise OSError when they take no more. A receiver that is away is waited for without the
    caller: what can't be kept until then is counted.

    Attributes:
        dropped: lines that could not be delivered.
        problem: why, the last time; also of one that is away and of which nothing is lost yet.
    """

    dropped: int
    problem: str

    def write(self, lines: bytes) -> None:
        """Whole lines, each of which ends with a newline."""

    def flush(self) -> None:
        """Hand over what was written."""

    def reopen(self) -> None:
        """Make a file that was rotated away anew."""

    def hurry(self, seconds: float) -> None:
        """It is to end: whoever takes nothing is waited for so long at most. For what handles signals."""

    def close(self) -> None:
        """Hand over what was written; nothing comes after it."""
