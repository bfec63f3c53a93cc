"""Zeek's logs, read: TSV or JSON lines, plain or packed, of now or rotated."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Milliseconds rather than seconds, as JSON may have times: no log is from so late.
_MILLISECONDS = 1e11


class LogError(Exception):
    """A log that can't be read; one line that names the file and what is wrong."""


class RowError(Exception):
    """A row that can't be read: what is wrong."""


def files(directory: Path, name: str) -> list[Path]:
    """The logs called ``name`` in a directory and in those in it, as zeekctl keeps a day in each, by name: that of now,
    and rotated ones, packed or not. Each once, whatever links lead to it.

    Raises:
        OSError: the directory can't be read.
    """
    wanted = re.compile(rf"{re.escape(name)}([.-].+)?\.log(\.gz|\.zst)?")
    found: dict[Path, Path] = {}
    for place in (directory, *sorted(each for each in directory.iterdir() if each.is_dir())):
        for path in sorted(place.iterdir()):
            if wanted.fullmatch(path.name) and path.is_file():
                found.setdefault(path.resolve(), path)
    return [*found.values()]


@dataclass
class Damaged:
    """Rows of a log that can't be read, and are left out.

    Attributes:
        line: number of the line that the latest row is from.
        rows: how many there are.
        first: of the first one, its line and what is wrong.
    """

    line: int = 0
    rows: int = 0
    first: str = ""

    def add(self, why: str) -> None:
        self.rows += 1
        self.first = self.first or f"line {self.line}: {why}"

    def told(self, path: Path) -> list[str]:
        """A line that tells of them, if there are any."""
        if not self.rows:
            return []
        if self.rows == 1:
            return [f"{path}: a row could not be read, and is left out: {self.first}"]
        return [f"{path}: {self.rows:,} rows could not be read, and are left out; the first, {self.first}"]


def records(
    path: Path, damaged: Damaged, times: Iterable[str] = ("ts",), words: Iterable[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of a log by column; what is unset is left out. Half a line at the end, which is still being written, is
    left out, too.

    Values are as the log's types say: int (µs since 1970) for a time, int, float, bool, str, and a list of str for a
    vector or set.

    Args:
        damaged: is told of rows that can't be read; the others are.
        times: columns that are times; JSON does not tell them from other numbers.
        words: only rows that hold one of these; all without any.

    Raises:
        LogError: it can't be read, or not to its end.
    """
    wanted = [word.encode() for word in words]
    rows = Rows(times)
    try:
        with _opened(path) as file:
            for damaged.line, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                if not wanted or line.startswith(b"#") or any(word in line for word in wanted):
                    try:
                        row = rows.row(line)
                    except RowError as error:
                        damaged.add(str(error))
                    else:
                        if row is not None:
                            yield row
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from None
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise LogError(f"{path}: damaged: {error}") from None


def begins(path: Path, size: int) -> bytes:
    """The first bytes of a file, ``size`` at most, unpacked if it is packed.

    Raises:
        LogError: it can't be read, or is no file.
    """
    try:
        with _opened(path) as file:
            return file.read(size)
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from None
    except (EOFError, zlib.error, zstandard.ZstdError) as error:
        raise LogError(f"{path}: damaged: {error}") from None


class Rows:
    """The rows of a log, or of several one after the other, line by line.

    Args:
        times: columns that are times; JSON does not tell them from other numbers.
    """

    def __init__(self, times: Iterable[str] = ("ts",)) -> None:
        self._times, self._tsv = times, _Tsv()

    def row(self, line: bytes) -> dict[str, Any] | None:
        """A line's row by column, as :func:`records` has it; None of a line of the head and an empty one.

        Raises:
            RowError: it can't be read.
        """
        if line.startswith(b"#"):
            self._tsv.head(line.decode("utf-8", "replace").rstrip("\n")[1:])
            return None
        text = line.decode("utf-8", "replace").rstrip("\n")
        if not text:
            return None
        return _of_json(text, self._times) if text.startswith("{") else self._tsv.row(text)


def _opened(path: Path) -> BinaryIO | io.BufferedReader:
    mode = path.stat().st_mode
    is_typed = stat.S_ISCHR(mode) and str(path) == "/dev/stdin" and os.isatty(0)
    # /dev/zero is one endless line.
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISDIR(mode) or is_typed):
        raise LogError(f"{path}: neither a file nor a pipe")
    file = path.open("rb")
    magic = file.peek(4)[:4]
    if magic.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    if magic == _ZSTD:
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
    return file


def _of_json(line: str, times: Iterable[str]) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)  # by its first letter it is an object
    except (ValueError, RecursionError):
        raise RowError("not JSON") from None
    for name in times:
        if name in row:
            try:
                row[name] = _json_time(row[name])
            except (ValueError, OverflowError):
                raise RowError(f"{name} can't be {row[name]!r}") from None
    return row


def _json_time(value: Any) -> int:
    """Seconds or milliseconds since 1970, or a date of ISO 8601, as Zeek can be told to write them, in µs."""
    if isinstance(value, str):
        # Python 3.10 reads neither "Z" nor Suricata's "+0000".
        when = datetime.fromisoformat(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", value.replace("Z", "+00:00")))
        return round((when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() * 1e6)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("no time")
    return round(value * (1e6 if abs(value) < _MILLISECONDS else 1e3))


class _Tsv:
    """What the lines of a log's head say of the others."""

    def __init__(self) -> None:
        self._separator, self._set_separator, self._unset, self._empty = "\t", ",", "-", "(empty)"
        self._names: list[str] = []
        self._types: list[str] = []

    def head(self, line: str) -> None:
        if line.startswith("separator "):
            self._separator = unescaped(line.split(" ", 1)[1]) or self._separator
            return
        key, *values = line.split(self._separator)
        if key == "fields":
            self._names = values
        elif key == "types":
            self._types = values
        elif values and key == "set_separator":
            self._set_separator = values[0]
        elif values and key == "unset_field":
            self._unset = values[0]
        elif values and key == "empty_field":
            self._empty = values[0]

    def row(self, line: str) -> dict[str, Any]:
        values = line.split(self._separator)
        if not self._names or len(self._names) != len(self._types):
            raise RowError("no #fields and #types before it; is it a log of Zeek's?")
        if len(values) != len(self._names):
            raise RowError(f"{len(values)} columns, and {len(self._names)} #fields")
        row: dict[str, Any] = {}
        for name, kind, value in zip(self._names, self._types, values, strict=True):
            if value == self._unset:
                continue
            try:
                row[name] = self._value(kind, value)
            except ValueError:
                raise RowError(f"{name} can't be {value!r}") from None
        return row

    def _value(self, kind: str, value: str) -> Any:
        if kind.startswith(("set[", "vector[")):
            return [] if value == self._empty else [unescaped(each) for each in value.split(self._set_separator)]
        if kind in _VALUES:
            return _VALUES[kind](value)
        return "" if value == self._empty else unescaped(value)


def _time(value: str) -> int:
    """Not by way of a float, which holds no microseconds of so late."""
    whole, _, fraction = value.partition(".")
    return int(whole) * 1_000_000 + int(f"{fraction:0<6}"[:6])


def _flag(value: str) -> bool:
    if value not in ("T", "F"):
        raise ValueError(value)
    return value == "T"


_VALUES: dict[str, Callable[[str], Any]] = {
    "time": _time,
    "count": int,
    "int": int,
    "port": int,
    "double": float,
    "interval": float,
    "bool": _flag,
}


def unescaped(text: str) -> str:
    r"""Zeek writes what would be misread as \x and two digits."""
    if "\\x" not in text:
        return text
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())
    return raw.decode("utf-8", "replace")
