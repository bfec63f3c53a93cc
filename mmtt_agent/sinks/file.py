"""Lines added to a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Bytes that are written at once.
_MOST = 1 << 16
_NEWLINE = 0x0A


class File:
    """As :class:`.sink.Sink`. Several processes may add to one file: what one writes at once stays together.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.dropped, self.problem = 0, ""
        self._path = path
        self._waiting = bytearray()
        self._file, self._torn = _opened(path)

    def write(self, lines: bytes) -> None:
        """
        Raises:
            OSError: they, or those before them that were waiting, can't be written, and are lost and counted.
        """
        self._waiting += lines
        if len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """As :meth:`write`."""
        half = 0  # bytes at the end of what was written that are no whole line
        try:
            if self._torn and self._waiting:
                # Half a line that a crash has left does not become part of another.
                os.write(self._file, b"\n")
                self._torn = False
            while self._waiting:
                written = os.write(self._file, self._waiting)
                end = self._waiting.rfind(b"\n", 0, written)
                half = half + written if end < 0 else written - end - 1
                del self._waiting[:written]
        except OSError as error:
            self._torn |= half > 0 and not self._taken_back(half)
            self.dropped += self._waiting.count(b"\n")
            self._waiting.clear()
            raise self._named(error) from None

    def reopen(self) -> None:
        """
        Raises:
            OSError: it can't be; the file that there was goes on being used.
        """
        self.flush()
        try:
            new = _opened(self._path)
        except OSError as error:
            raise self._named(error) from None
        os.close(self._file)
        self._file, self._torn = new

    def hurry(self, seconds: float) -> None:
        pass

    def close(self) -> None:
        """As :meth:`write`."""
        try:
            self.flush()
        finally:
            os.close(self._file)

    def _taken_back(self, size: int) -> bool:
        """Whether what was written last, so many bytes, could be taken away again."""
        try:
            end = os.lseek(self._file, 0, os.SEEK_CUR)
            if end != os.fstat(self._file).st_size:
                return False  # another has added to it since
            os.ftruncate(self._file, end - size)
        except OSError:
            return False
        return True

    def _named(self, error: OSError) -> OSError:
        error.filename = str(self._path)
        self.problem = f"{self._path}: {error.strerror}"
        return error


def _opened(path: Path) -> tuple[int, bool]:
    """The file, and whether what is in it ends within a line."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or not about.st_size:
            return file, False
        with path.open("rb") as before:
            before.seek(-1, os.SEEK_END)
            return file, before.read(1)[0] != _NEWLINE
    except OSError:
        return file, False  # one that may be added to and not read
