"""A file that is written to, read as ``tail -F`` does: on and on, also when it is rotated away, truncated or replaced.

A file is known again by how it begins, whatever it is called by then: numbers of inodes are used again at once.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

#: Bytes that a file is known again by.
_HEAD = 512
#: What a rotated file's name has more than it had: numbers, dates.
_ROTATED = re.compile(r"[.-][0-9][0-9T:._-]*(\.gz)?")


class Position(NamedTuple):
    """How far a file has been read.

    Attributes:
        offset: in bytes.
        head: SHA-256 of what it begins with.
        length: how many bytes those are.
    """

    offset: int
    head: str
    length: int

    @classmethod
    def read(cls, fields: Any) -> Position:
        """Of what :meth:`_asdict` made.

        Raises:
            ValueError: it is none.
        """
        if not isinstance(fields, dict) or {*fields} != {*cls._fields}:
            raise ValueError("not a position")
        found = cls(**fields)
        if type(found.offset) is not int or type(found.length) is not int or not isinstance(found.head, str):
            raise ValueError("not a position")
        if found.offset < 0 or not 0 <= found.length <= _HEAD:
            raise ValueError("not a position")
        return found


class _File:
    """One that is open.

    Attributes:
        begin: how many bytes of all files came before what was read of this one first.
        first: its offset there.
        offset: how far it has been read.
    """

    def __init__(self, path: Path, offset: int, begin: int) -> None:
        self.path, self.offset, self.begin, self.first = path, offset, begin, offset
        self.file = file = _opened(path)
        self.head = _head(file, offset)

    def read(self, most: int) -> bytes:
        self.file.seek(self.offset)
        data = self.file.read(most)
        self.offset += len(data)
        if len(self.head) < min(_HEAD, self.offset):
            self.head = _head(self.file, self.offset)
        return data

    def is_another(self) -> bool:
        """Whether it has been truncated, and maybe written to since then."""
        size = os.fstat(self.file.fileno()).st_size
        return size < self.offset or _head(self.file, self.offset) != self.head


class Follower:
    """Reads a file on and on.

    Args:
        position: where to go on; None: at the file's begin.
        say: takes a line on what can't be read any more.

    Attributes:
        count: bytes that have been read.
    """

    def __init__(self, path: Path, position: Position | None, say: Callable[[str], None]) -> None:
        self.count = 0
        self._path, self._say = path, say
        self._file: _File | None = None
        #: Those that come before the one that has the name now, offsets in them, and whether they go on where the one
        #: before ends.
        self._before: deque[tuple[Path, int, bool]] = deque()
        #: Of files whose bytes have not passed yet: their begin, first offset and head, the latest last.
        self._spans: deque[_File] = deque()
        self._offset = 0
        if position is not None and position.length:
            self._resume(position)

    def read(self, most: int) -> tuple[bytes, bool]:
        """What there is next, empty if there is nothing now; and whether another file begins with it, so that half a
        line that came before will have no other half.

        Raises:
            OSError: it can't be read.
        """
        another = False
        for _ in range(1000):  # files that are empty
            if self._file is None:
                goes_on = self._open()
                if self._file is None:
                    break
                another |= not goes_on
            file = self._file
            if file.path == self._path and file.is_another():
                self._truncated(file)
                continue
            data = self._data(file, most)
            if not data and self._is_over(file):
                data = self._data(file, most)  # what came just before it was over
                if not data:
                    self.close()
                    continue
            self.count += len(data)
            return data, another
        return b"", another

    def position(self, passed: int) -> Position | None:
        """Where to go on when so many bytes of all that was read are done with; None before anything was read.

        Args:
            passed: no less than the time before.
        """
        while len(self._spans) > 1 and self._spans[1].begin <= passed:
            self._spans.popleft()
        if not self._spans:
            return None
        file = self._spans[0]
        offset = file.first + passed - file.begin
        return Position(offset, sha256(file.head).hexdigest(), len(file.head))

    def close(self) -> None:
        if self._file is not None:
            self._file.file.close()
            self._file = None

    def _open(self) -> bool:
        """The next file, if it is there; whether it goes on where the one before has ended."""
        path, offset, goes_on = self._before.popleft() if self._before else (self._path, self._offset, not self._spans)
        with suppress(FileNotFoundError):
            self._file = _File(path, offset, self.count)
            self._spans.append(self._file)
            if path == self._path:
                self._offset = 0
        return goes_on

    def _data(self, file: _File, most: int) -> bytes:
        try:
            return file.read(most)
        except (EOFError, zlib.error) as error:
            self._say(f"{file.path}: damaged, and read as far as that goes: {error}")
            return b""

    def _is_over(self, file: _File) -> bool:
        """Whether nothing more will come of a file that has been read to its end: another has its name, and is written
        to."""
        if file.path != self._path:
            return True
        try:
            now, then = os.stat(self._path), os.fstat(file.file.fileno())
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino) and now.st_size > 0

    def _truncated(self, file: _File) -> None:
        """It begins anew. What had not been read of it is in a copy, if there is one: what logrotate calls
        copytruncate."""
        copy = next((path for path in self._others() if _begins(path, file.head, 0)), None) if file.head else None
        if copy is not None and _begins(copy, file.head, file.offset):
            self._before.append((copy, file.offset, True))
        elif copy is None and file.offset:
            self._say(
                f"{self._path}: has been truncated, and there is no copy of what it was: what was written to it "
                "after the last look at it, a moment before, is lost"
            )
        self.close()

    def _resume(self, position: Position) -> None:
        def is_it(path: Path) -> bool:
            return _begins(path, position, position.offset)

        if is_it(self._path):
            self._offset = position.offset
            return
        others = self._others()
        found = next((path for path in others if is_it(path)), None)
        if found is None:
            self._say(
                f"{self._path}: the file that was read when this ended is gone: what was written to it since then is "
                "lost; reads what there is now from its begin"
            )
            return
        self._before.append((found, position.offset, True))
        # Those that were rotated away after it.
        since = found.stat().st_mtime_ns
        later = [path for path in reversed(others) if path.stat().st_mtime_ns > since and path.suffix != ".gz"]
        self._before += [(path, 0, False) for path in later]

    def _others(self) -> list[Path]:
        """Files that may have had the name, the latest first."""
        found: list[tuple[int, Path]] = []
        with suppress(OSError):
            for path in self._path.parent.iterdir():
                name = self._path.name
                if path.name.startswith(name) and _ROTATED.fullmatch(path.name, len(name)):
                    with suppress(OSError):
                        about = path.stat()
                        if stat.S_ISREG(about.st_mode):
                            found.append((about.st_mtime_ns, path))
        return [path for _, path in sorted(found, reverse=True)]


def _opened(path: Path) -> io.FileIO | io.BufferedReader:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(path))
    return path.open("rb", buffering=0)  # what was read before may have changed


def _head(file: io.FileIO | io.BufferedReader, most: int) -> bytes:
    file.seek(0)
    return file.read(min(_HEAD, most))


def _begins(path: Path, how: bytes | Position, offset: int) -> bool:
    """Whether a file begins so, and is at least so long."""
    try:
        with _opened(path) as file:
            if isinstance(how, bytes):
                same = _head(file, len(how)) == how
            else:
                same = sha256(_head(file, how.length)).hexdigest() == how.head
            return same and (file.seek(offset) if path.suffix == ".gz" else os.fstat(file.fileno()).st_size) >= offset
    except (OSError, EOFError):
        return False
