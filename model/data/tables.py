"""Tables of tabs, as captures and their flows are described in: each row whole, each capture once and inside the
directory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from .errors import DatasetError


def read(path: Path, file: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table that has these columns, each in every row, and the lines that they are on."""
    reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f"{path}: has no column {missing[0]!r}")
    for row in reader:
        if lacking := [column for column in columns if row[column] is None]:
            raise DatasetError(f"{path}: line {reader.line_num} ends before the column {lacking[0]!r}; fetch it again")
        if None in row:
            raise DatasetError(f"{path}: line {reader.line_num} has more values than there are columns; fetch it again")
        yield reader.line_num, row


def read_captures(path: Path, file: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """`read`, of a table with a row for each capture, whose path below captures/ is in the column ``capture``."""
    lines: dict[str, int] = {}
    for line, row in read(path, file, columns):
        capture = row["capture"]
        place = PurePosixPath(capture)
        if not place.parts or place.is_absolute() or ".." in place.parts:
            raise DatasetError(
                f"{path}: line {line}: capture {capture!r} is not inside the directory; give a path below captures/"
            )
        if (earlier := lines.setdefault(capture, line)) != line:
            raise DatasetError(f"{path}: line {line}: {capture} is on line {earlier} already; remove one of them")
        yield line, row
