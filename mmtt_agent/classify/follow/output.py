"""Where the rows of captures that come one after the other go: appended to logs, or printed. Those of a capture go
there together, once it has been read to its end."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..log import INCIDENTS, ROWS, JsonWriter, Log, TsvWriter
from ..row import IncidentRow, Row
from .state import Place, StateError

#: Bytes before its end that a log is known by.
_TAIL = 256


class Output(Protocol):
    def write(self, row: Row | IncidentRow) -> None:
        """To be added with the next :meth:`commit`."""

    def commit(self) -> dict[str, Place]:
        """Add what was written since the last time; how far each log has come."""

    def reopen(self) -> None:
        """Logs that have been moved away are begun anew."""

    def close(self) -> None: ...


class _Lines:
    """Rows as lines, kept until they are taken."""

    def __init__(self, form: str, log: Log, begun: bool) -> None:
        self._form, self._log = form, log
        self._text = io.StringIO()
        self._writer: TsvWriter | JsonWriter
        self.begin(begun)

    def begin(self, begun: bool) -> None:
        """``begun``: the head is there already."""
        if self._form == "json":
            self._writer = JsonWriter(self._text, self._log, several=True)
            return
        self._writer = TsvWriter(self._text, self._log, several=True)
        if begun:
            self._writer.go_on()

    def write(self, row: Row | IncidentRow) -> None:
        self._writer.write(row)

    def end(self) -> str:
        """What closes a log."""
        self._writer.close()
        return self.take()

    def take(self) -> str:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text


class Printed:
    """On standard output. What was printed can't be taken back: a capture whose rows were, and that was not yet noted
    down when the program was killed, is printed again.

    Args:
        form: "tsv" or "json".
        incidents: instead of rows.
    """

    def __init__(self, form: str, incidents: bool) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        self._incidents = incidents
        self._lines = _Lines(form, INCIDENTS if incidents else ROWS, begun=False)

    def write(self, row: Row | IncidentRow) -> None:
        if isinstance(row, IncidentRow) == self._incidents:
            self._lines.write(row)

    def commit(self) -> dict[str, Place]:
        sys.stdout.write(self._lines.take())
        sys.stdout.flush()
        return {}

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Appended:
    """A log that is appended to."""

    def __init__(self, path: Path, form: str, log: Log, place: Place | None) -> None:
        self._path = path
        self._restore(place)
        self._file = self._opened()
        self._lines = _Lines(form, log, begun=self.place.size > 0)

    @property
    def place(self) -> Place:
        about = os.fstat(self._file)
        return Place(about.st_ino, about.st_size, _tail(self._file, about.st_size))

    def write(self, row: Row | IncidentRow) -> None:
        self._lines.write(row)

    def commit(self) -> Place:
        self._append(self._lines.take())
        return self.place

    def reopen(self) -> None:
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self.place.inode:
                return
        if self.place.size:
            self._append(self._lines.end())
        os.close(self._file)
        self._file = self._opened()
        self._lines.begin(begun=self.place.size > 0)

    def close(self) -> None:
        os.close(self._file)

    def _append(self, text: str) -> None:
        if not text:
            return
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        before = os.fstat(self._file).st_size
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, before)
            error.filename = str(self._path)
            raise

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _restore(self, place: Place | None) -> None:
        """Take back what was added after the state was written: the captures that it is of come again."""
        if place is None:
            if self._path.exists() and self._path.stat().st_size:
                raise StateError(
                    f"{self._path}: is there already, and `mmtt classify --follow` has not written it; move it away, "
                    "or name another directory"
                )
            return
        # It may have been moved away meanwhile.
        moved = (path for mark in "-." for path in sorted(self._path.parent.glob(f"{self._path.stem}{mark}*")))
        for path in (self._path, *moved):
            with suppress(FileNotFoundError), path.open("r+b") as file:
                about = os.fstat(file.fileno())
                if about.st_ino == place.inode and _tail(file.fileno(), place.size) == place.tail:
                    os.ftruncate(file.fileno(), place.size)
                    return


def _tail(file: int, size: int) -> str:
    """A digest of a file's last bytes, were it of so many."""
    length = min(size, _TAIL)
    return hashlib.blake2b(os.pread(file, length, size - length), digest_size=16).hexdigest()


class Logs:
    """``mmtt.log`` and ``mmtt_incidents.log`` in a directory.

    Args:
        form: "tsv" or "json".
        places: how far they were written when the state was.

    Raises:
        StateError: there is a log of somebody else's.
        OSError: they can't be written.
    """

    def __init__(self, directory: Path, form: str, places: dict[str, Place]) -> None:
        self._logs = {
            log.name: _Appended(directory / f"{log.name}.log", form, log, places.get(log.name))
            for log in (ROWS, INCIDENTS)
        }

    def write(self, row: Row | IncidentRow) -> None:
        self._logs[(INCIDENTS if isinstance(row, IncidentRow) else ROWS).name].write(row)

    def commit(self) -> dict[str, Place]:
        return {name: log.commit() for name, log in self._logs.items()}

    def reopen(self) -> None:
        for log in self._logs.values():
            log.reopen()

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
