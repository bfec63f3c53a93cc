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

from ...sinks import Sink
from ..eve import EveWriter
from ..log import INCIDENTS, ROWS, ROWS_WITH_COMMUNITY_ID, JsonWriter, Log, TsvWriter
from ..row import IncidentRow, Row
from ..run import EVE
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


def opened(
    form: str, directory: Path | None, places: dict[str, Place], incidents: bool, ids: bool, sink: Sink | None
) -> Output:
    """Where rows go: logs in ``directory``, a sink, or standard output.

    Args:
        form: "tsv", "json" or "eve".
        places: how far the logs were written when the state was.
        incidents: printed or sent instead of rows.
        ids: rows have a column for the community ID.
        sink: takes events of EVE.

    Raises:
        StateError: there is a log of somebody else's.
        OSError: they can't be written.
    """
    of_rows = ROWS_WITH_COMMUNITY_ID if ids else ROWS
    if sink:
        return _Sent(sink, incidents)
    if directory is None:
        return _Printed(form, INCIDENTS if incidents else of_rows)
    directory.mkdir(parents=True, exist_ok=True)
    logs: dict[str, Log | None] = (
        {EVE: None} if form == "eve" else {f"{log.name}.log": log for log in (of_rows, INCIDENTS)}
    )
    return _Logs({name: _Appended(directory / name, form, log, places.get(name)) for name, log in logs.items()})


class _Lines:
    """Rows as lines, kept until they are taken.

    Args:
        log: what is written; None for events of EVE.
    """

    def __init__(self, form: str, log: Log | None, begun: bool) -> None:
        self._form, self._log = form, log
        self._text = io.StringIO()
        self._writer: TsvWriter | JsonWriter | EveWriter
        self.begin(begun)

    def begin(self, begun: bool) -> None:
        """``begun``: the head is there already."""
        if self._log is None:
            self._writer = EveWriter(lambda line: self._text.write(line.decode("ascii")))
        elif self._form == "json":
            self._writer = JsonWriter(self._text, self._log, several=True)
        else:
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


class _Printed:
    """On standard output. What was printed can't be taken back: a capture whose rows were, and that was not yet noted
    down when the program was killed, is printed again."""

    def __init__(self, form: str, log: Log) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        self._log = log
        self._lines = _Lines(form, log, begun=False)

    def write(self, row: Row | IncidentRow) -> None:
        if isinstance(row, self._log.row):
            self._lines.write(row)

    def commit(self) -> dict[str, Place]:
        sys.stdout.write(self._lines.take())
        sys.stdout.flush()
        return {}

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Sent:
    """Events of EVE for a sink; as with what is printed, some may come twice after a kill."""

    def __init__(self, sink: Sink, incidents: bool) -> None:
        self._sink, self._incidents = sink, incidents
        self._lines = _Lines("eve", None, begun=True)

    def write(self, row: Row | IncidentRow) -> None:
        if isinstance(row, IncidentRow) or not self._incidents:
            self._lines.write(row)

    def commit(self) -> dict[str, Place]:
        if text := self._lines.take():
            self._sink.write(text.encode("ascii"))
        self._sink.flush()
        return {}

    def reopen(self) -> None:
        self._sink.reopen()

    def close(self) -> None:
        pass  # whoever has opened it closes it


class _Appended:
    """A log that is appended to."""

    def __init__(self, path: Path, form: str, log: Log | None, place: Place | None) -> None:
        self._path = path
        self._form = f"{form} {len(log.columns)}" if log else form
        self._restore(place)
        self._file = self._opened()
        self._lines = _Lines(form, log, begun=self.place.size > 0)

    @property
    def place(self) -> Place:
        about = os.fstat(self._file)
        return Place(about.st_ino, about.st_size, _tail(self._file, about.st_size), self._form)

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
        if place.form != self._form and self._path.exists() and self._path.stat().st_size:
            raise StateError(
                f"{self._path}: was written in another format, or with other columns; move it away, or give the same "
                "--format and --community-id"
            )
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


class _Logs:
    """``mmtt.log`` and ``mmtt_incidents.log`` in a directory, or ``eve.json`` for both."""

    def __init__(self, logs: dict[str, _Appended]) -> None:
        self._logs = logs
        self._of_rows, *others = logs.values()
        self._of_incidents = others[0] if others else self._of_rows

    def write(self, row: Row | IncidentRow) -> None:
        (self._of_incidents if isinstance(row, IncidentRow) else self._of_rows).write(row)

    def commit(self) -> dict[str, Place]:
        return {name: log.commit() for name, log in self._logs.items()}

    def reopen(self) -> None:
        for log in self._logs.values():
            log.reopen()

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
