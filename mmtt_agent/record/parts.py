"""Where windows lie: ``DIR/2026-11-28/13-<writer>-<n>.parquet`` holds some of the hour from 13:00 UTC on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: An hour, in microseconds.
HOUR = 3_600_000_000

_DAY = re.compile(r"\d{4,6}-\d\d-\d\d", re.ASCII)
_NAME = re.compile(r"([01]\d|2[0-3])-[A-Za-z0-9_.-]+-\d+\.parquet", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A file of windows.

    Attributes:
        hour: of its windows, hours since 1970.
        size: in bytes.
        written: when, in nanoseconds since 1970.
    """

    path: Path
    hour: int
    size: int
    written: int


def named(directory: Path, hour: int, writer: str, number: int) -> Path:
    """What a part of that hour is called."""
    day, of_day = str(np.datetime64(hour, "h")).split("T")
    return directory / day / f"{of_day}-{writer}-{number}.parquet"


def parts(directory: Path) -> list[Part]:
    """All that there are, by hour and name. What is called otherwise is none, nor is one that is just being written.

    Raises:
        OSError: the directory can't be read.
    """
    found = []
    for day in days(directory):
        for file in os.scandir(day):
            if not (match := _NAME.fullmatch(file.name)):
                continue
            try:
                about = file.stat()
                hour = int(np.datetime64(f"{day.name}T{match[1]}", "h").astype(np.int64))
            except (FileNotFoundError, ValueError):
                continue  # removed meanwhile; or of a day that no calendar has
            found.append(Part(Path(file.path), hour, about.st_size, about.st_mtime_ns))
    return sorted(found, key=lambda part: (part.hour, str(part.path)))


def days(directory: Path) -> list[Path]:
    """The directories of the days.

    Raises:
        OSError: the directory can't be read.
    """
    return sorted(Path(day.path) for day in os.scandir(directory) if _DAY.fullmatch(day.name) and day.is_dir())
