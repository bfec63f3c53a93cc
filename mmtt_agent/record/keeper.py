"""What goes of what was recorded: what is too old, and of the rest the oldest, where it is too much."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .. import whole
from .parts import Part, days, parts

_DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Kept:
    """What is left, in bytes, and how many parts were removed for their age and for want of room."""

    size: int
    too_old: int
    too_much: int


def keep(directory: Path, age: int | None, most: int | None) -> Kept:
    """Remove the parts that were written more than ``age`` days ago, then the oldest until ``most`` bytes are left; and
    what a writer that was killed has left half written. None is no limit.

    A part's age counts from when it was written: a capture of years ago is kept as long as what is recorded now.

    Raises:
        OSError: the directory can't be read, or a part not removed.
    """
    there = sorted(parts(directory), key=lambda part: (part.written, part.hour, str(part.path)))
    oldest = time.time_ns() - age * _DAY if age is not None else 0
    old = sum(part.written < oldest for part in there)
    size, much = sum(part.size for part in there[old:]), old
    while most is not None and size > most:
        size -= there[much].size
        much += 1
    _remove(there[:much])
    for day in days(directory):
        whole.sweep(day)
    return Kept(size, old, much - old)


def _remove(gone: Sequence[Part]) -> None:
    for part in gone:
        with suppress(FileNotFoundError):
            part.path.unlink()
    for day in {part.path.parent for part in gone}:
        with suppress(OSError):  # other parts of that day are left
            os.rmdir(day)
