"""Text in a file of Zstandard, all of it: a reader that takes what is cut off for the end would drop flows unsaid."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

from ..errors import DatasetError

_CHUNK = 1 << 16


def open_text(path: Path, newline: str | None = None) -> io.TextIOWrapper:
    """The text of the file, of all its frames.

    Raises, while it is read:
        DatasetError: it ends before a frame does, or is empty.
        OSError: it can't be read.
        zstandard.ZstdError, ValueError: it is damaged.
    """
    return io.TextIOWrapper(io.BufferedReader(_Stream(_parts(path)), _CHUNK), encoding="utf-8", newline=newline)


def _parts(path: Path) -> Iterator[bytes]:
    frame, frames = None, 0
    with path.open("rb") as raw:
        while data := raw.read(_CHUNK):
            while data:
                if frame is None:
                    frame, frames = zstandard.ZstdDecompressor().decompressobj(), frames + 1
                yield frame.decompress(data)
                data = b""
                if frame.eof:
                    data, frame = frame.unused_data, None
    if frame is not None or not frames:
        raise DatasetError(f"{path}: ends before its end; fetch it again")


class _Stream(io.RawIOBase):
    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
