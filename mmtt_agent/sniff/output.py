"""Where rows go, and as what: Zeek's logs in a directory, lines of a sink, or a table on a terminal."""

from __future__ import annotations

import codecs
import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from .. import whole
from ..classify.eve import EveWriter
from ..classify.log import INCIDENTS, ROWS, ROWS_WITH_COMMUNITY_ID, JsonWriter, Log, TsvWriter
from ..classify.row import IncidentRow, Row
from ..classify.run import files
from ..sinks import Sink, open_sink
from .config import Config
from .errors import SettingsError

# Held in a directory while its logs are written.
_LOCK = ".mmtt_sniff.lock"
# Characters that wait at most.
_MOST = 1 << 18
# Seconds between two words on a receiver that is away.
_QUIET = 60.0


class Writer(Protocol):
    def write(self, row: Row | IncidentRow) -> None: ...

    def close(self) -> None: ...


def preload(config: Config, form: str) -> None:
    """Load what is loaded late else: later this process may not be allowed to read where mmtt is installed."""
    if form == "table":
        from . import screen  # noqa: F401
    # Python's own for names of hosts.
    codecs.lookup("idna")
    if config.to.startswith("redis"):
        with suppress(ModuleNotFoundError):  # said when it is used
            import redis  # noqa: F401


class Output:
    """
    Args:
        form: one of :data:`.config.FORMATS`.
        say: takes lines for the log, with their level.

    Raises:
        SettingsError: another writes logs into the directory.
        SinkError, OSError: it can't be opened.
    """

    def __init__(self, config: Config, form: str, say: Callable[[str, str], None]) -> None:
        rows = ROWS_WITH_COMMUNITY_ID if config.community_id else ROWS
        self._interface = config.interfaces[0] if len(config.interfaces) == 1 else None
        self._lock: int | None = None
        self._make: dict[bool, Callable[[_Lines, str | None], Writer]]
        if form == "eve":
            self._make = dict.fromkeys((False, True), _eve)
        elif form == "table":
            self._make = dict.fromkeys((False, True), _screen)
        else:
            self._make = {False: partial(_zeek, form, rows), True: partial(_zeek, form, INCIDENTS)}
        if config.directory is not None:
            directory = Path(config.directory)
            directory.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = whole.lock(directory / _LOCK)
            except BlockingIOError:
                raise SettingsError(
                    f"{directory}: another mmtt sniff writes its logs there; stop that, or name another directory"
                ) from None
            streams = [_Stream(open_sink(f"file:{file}"), file, say) for file in files(form, directory)]
            self._streams = {False: streams[0], True: streams[-1]}
        else:
            stream = _Stream(open_sink(config.to), None, say)
            # Both kinds of rows are of different columns: the lines of one log are those of windows.
            both = form in ("eve", "table")
            self._streams = {False: stream} | ({True: stream} if both else {})

    def write(self, row: Row | IncidentRow, interface: str | None) -> None:
        """``interface``: whose packets it is of; None of an incident, which may be of several's."""
        of_incidents = isinstance(row, IncidentRow)
        if (stream := self._streams.get(of_incidents)) is not None:
            stream.write(row, interface or self._interface, self._make[of_incidents])

    def flush(self) -> None:
        """Hand over what was written. What can't be is counted, said once, and tried again with what comes.

        Raises:
            OutputError: standard output takes no more.
        """
        for stream in self._all():
            stream.flush()

    def reopen(self) -> None:
        """A file that was rotated away is closed and made anew."""
        for stream in self._all():
            stream.reopen()

    def close(self) -> None:
        for stream in self._all():
            stream.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def written(self) -> int:
        """Rows that were handed over."""
        return sum(stream.written for stream in self._all())

    @property
    def lost(self) -> int:
        """Rows that could not be."""
        return sum(stream.lost for stream in self._all())

    @property
    def problem(self) -> str:
        """Why rows can't be handed over now; empty if they can."""
        return next((stream.problem for stream in self._all() if stream.problem), "")

    @property
    def trouble(self) -> str:
        """Why rows could not be handed over, the last time; empty if all were."""
        return next((stream.trouble for stream in self._all() if stream.lost), "")

    def _all(self) -> list[_Stream]:
        return [*dict.fromkeys(self._streams.values())]


class _Lines(io.StringIO):
    """What writers write into, some text and some bytes."""

    def put(self, line: bytes) -> None:
        self.write(line.decode("ascii"))

    def take(self) -> bytes:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text.encode("utf-8", "surrogateescape")


class _Stream:
    """One sink's lines.

    Args:
        path: of a log with a head and an end, which are written anew where the file is another.

    Attributes:
        written, lost: rows.
        problem: why they can't be handed over now.
        trouble: why some could not be, the last time.
    """

    def __init__(self, sink: Sink, path: Path | None, say: Callable[[str, str], None]) -> None:
        self._sink, self._path, self._say = sink, path, say
        self._lines = _Lines()
        self._writers: dict[tuple[bool, str | None], Writer] = {}
        self._rows = 0  # that wait in the lines
        self._dropped = 0  # of the sink's, that are counted already
        self._identity = _identity(path)
        self._told, self._quiet_until = "", 0.0
        self.written = self.lost = 0
        self.problem = self.trouble = ""

    def write(
        self, row: Row | IncidentRow, interface: str | None, make: Callable[[_Lines, str | None], Writer]
    ) -> None:
        key = isinstance(row, IncidentRow), interface
        if (writer := self._writers.get(key)) is None:
            writer = self._writers[key] = make(self._lines, interface)
        writer.write(row)
        self._rows += 1
        if self._lines.tell() > _MOST:
            self.flush()

    def flush(self) -> None:
        data = self._lines.take()
        if not data:
            return
        rows, self._rows = self._rows, 0
        try:
            self._sink.write(data)
            self._sink.flush()
        except OSError as error:
            # The head may be among what was lost: it comes again with the next row.
            self._writers.clear()
            # A file has taken those of them that there was room for.
            lost = min(rows, self._sink.dropped - self._dropped) or rows
            self.lost += lost
            self.written += rows - lost
            self._dropped, self._told = self._sink.dropped, self._sink.problem
            if not self.problem:
                self.problem = f"{error.filename or 'verdicts'}: can't be written: {error.strerror or error}"
                self._say("error", f"{self.problem}; verdicts are lost, and counted, until there is room again")
            self.trouble = self.problem
            return
        self.written += rows
        if self.problem:
            self._say("info", f"verdicts are written again; {self.lost:,} so far were not")
            self.problem = ""
        self._look_at_sink()

    def reopen(self) -> None:
        if self._path is None or _identity(self._path) != self._identity:
            self._end()
            try:
                self._sink.reopen()
            except OSError as error:
                self._say("error", f"{error.filename}: can't be opened anew: {error.strerror}; the old file goes on")
            self._identity = _identity(self._path)

    def close(self) -> None:
        self._end()
        try:
            self._sink.close()
        except OSError as error:
            self._say("error", f"{error.filename or 'verdicts'}: {error.strerror or error}")
        self._look_at_sink()

    def _end(self) -> None:
        """The end of a log, where it has begun."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()
        self.flush()

    def _look_at_sink(self) -> None:
        """What a receiver that is away has cost."""
        sink, now = self._sink, time.monotonic()
        if (more := sink.dropped - self._dropped) > 0:
            self._dropped = sink.dropped
            self.lost += more
            self.written -= more
            self.trouble = sink.problem
        if (more > 0 or sink.problem != self._told) and sink.problem and now >= self._quiet_until:
            self._told, self._quiet_until = sink.problem, now + _QUIET
            cost = f"{self.lost:,} verdicts so far could not be handed over" if self.lost else "verdicts wait"
            self._say("warning", f"{sink.problem}; {cost}")


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Of the file that is there now."""
    try:
        about = os.stat(path) if path else None
    except OSError:
        return None
    return (about.st_dev, about.st_ino) if about else None


def _eve(lines: _Lines, interface: str | None) -> Writer:
    return EveWriter(lines.put, interface)


def _screen(lines: _Lines, _: str | None) -> Writer:
    from .screen import ScreenWriter

    return ScreenWriter(lines)


def _zeek(form: str, log: Log, lines: _Lines, _: str | None) -> Writer:
    return (TsvWriter if form == "tsv" else JsonWriter)(lines, log, False)
