"""``mmtt eve``: verdicts and events in, events out."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from .. import __version__, endings, logs
from ..classify.row import IncidentRow, Row
from ..sinks import Sink, StalledError, open_sink
from ..sinks.places import SOCKETS
from . import rotated, verdicts, watched
from . import state as states
from .enrich import Enricher
from .known import Known
from .lines import Piece
from .sources import Followed, Once, Source, SourceError, source

#: Seconds between two looks at a file that is written to, and at signals.
_LOOK, _SIGNALS = 0.1, 0.5
#: Seconds between two positions that are kept.
_SAVE = 1.0
#: Seconds for what is still on its way in a socket or pipe when it is to end.
_LAST = 2.0
#: Seconds that a receiver is waited for that takes nothing.
_PATIENCE = 60.0
#: Seconds that a receiver is waited for in the end; the unit gives it 30.
_HURRY = 15.0
#: Verdicts are read in so many chunks between two of events.
_TURNS = 4
#: Events that are written at once.
_AT_ONCE = 1000
#: Bytes of a line that is held for an output that takes whole lines only.
_WHOLE = 64 << 20


@dataclass(frozen=True)
class Settings:
    """What is read, joined and written.

    Attributes:
        input, verdicts: as :func:`.sources.source` has them.
        output: as :func:`..sinks.open_sink` has it.
        state: keeps how far a file that is followed has been read.
        wait: seconds that an event waits for its verdict. Of a connection that closes before a window is full it comes
            5.3 to 5.5 s after the last packet: Zeek, and `mmtt sniff` with it, waits for 5 s for what may still follow.
        connections: whose verdicts are kept.
        listen: for /metrics.
    """

    input: str
    verdicts: tuple[str, ...]
    output: str = "-"
    follow: bool = False
    state: Path | None = None
    wait: float = 8.0
    seed: int = 0
    connections: int = 500_000
    listen: tuple[str, int] | None = None


class Service:
    """One run.

    Args:
        rows: verdicts on captures, which are known before anything else.
        say: takes lines for standard error.
        clock: seconds that only go forward.

    Raises:
        SourceError, SinkError, StateError, logs.LogError, OSError: something can't be read or written.
    """

    def __init__(
        self,
        settings: Settings,
        rows: Callable[[Callable[[Row | IncidentRow], None]], object] | None,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._say, self._clock = settings, say, clock
        self._known = Known(settings.connections, settings.seed)
        self._closing = ExitStack()
        self._held: int | None = None
        self._stop: signal.Signals | None = None
        self._reopen = self._begun = False
        self._feeds: list[tuple[Source, verdicts.Reader, str]] = []
        self._problems = 0
        #: Bytes of the input that have been written, with those that are left out.
        self._written = 0
        self._unwritten = 0
        self._damaged = 0
        with ExitStack() as stack:
            self._open(stack, rows)
            self._closing = stack.pop_all()

    def _open(self, stack: ExitStack, rows: Callable[[Callable[[Row | IncidentRow], None]], object] | None) -> None:
        settings = self._settings
        if settings.state:
            stack.enter_context(states.alone(settings.state))
        state = states.load(settings.state) if settings.state else states.State()
        self._output = _file(settings.output)
        for each in (settings.input, *settings.verdicts):
            read = _file(each)
            if self._output and read and _same(read, self._output):
                raise SourceError(f"{self._output}: can't be read and written to; name another file with -o")
            if settings.output == "-" and _is_stdout(read if each != "-" else None):
                raise SourceError(f"{each}: can't be read while standard output goes there; name another file with -o")
        if settings.follow:
            stack.callback(self._let_go)
            self._hold()
        self._again = states.beyond(state.mark, self._output) if self._output else 0
        self._input = source(settings.input, settings.follow, state.position, self._say)
        stack.callback(self._input.close)
        self._live = not isinstance(self._input, Once) or self._input.is_pipe
        for where in settings.verdicts:
            self._feed(where, stack)
        if rows:
            rows(self._add)
        self._sink: Sink = open_sink(settings.output, _PATIENCE)
        if settings.follow:
            self._hold()
        self._whole = bytearray() if settings.output != "-" and self._output is None else None
        self._enricher = Enricher(self._known, settings.wait if self._feeds else 0.0)
        if settings.state:
            if not self._again:
                state = states.State(state.position, states.marked(self._output))
            states.save(settings.state, state)  # now it can be said that it can't be
        self._saved = self._clock()

    def _hold(self) -> None:
        """The output, as it is now, is this one's alone."""
        self._let_go()
        self._held = states.held(self._output) if self._output else None

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _feed(self, where: str, stack: ExitStack) -> None:
        """Open what verdicts come from; one that is not written to any more is read."""
        named = _file(where)
        if named is None or (self._live and named.suffix not in (".gz", ".zst")):
            if named is not None:
                self._rotated(named)
            feed = source(where, True, None, self._say, may_lack=True)
            stack.callback(feed.close)
            self._feeds.append((feed, verdicts.Reader(), where))
            return
        rows, found = self._read(named)
        if not found:
            self._say(f"{named}: holds no verdicts; is it an mmtt.log?")
            self._problems += rows > 0  # a log of hours without connections has none, and is all right

    def _rotated(self, log: Path) -> None:
        """What was written to a log before it was rotated away: this may be starting just after that."""
        for path in rotated.recent(log):
            try:
                self._read(path)
            except logs.LogError as error:
                self._say(str(error))
                self._problems += 1
        self._known.forgotten = 0  # as many as are kept, the latest: no more of them are missed

    def _read(self, log: Path) -> tuple[int, int]:
        """Take the verdicts of one that is not written to any more: how many rows it has, and verdicts.

        Raises:
            logs.LogError: it can't be read, or not to its end.
        """
        damaged, rows, found = logs.Damaged(), 0, 0
        for row in logs.records(log, damaged):
            rows += 1
            try:
                verdict = verdicts.of(row)
            except logs.RowError as error:
                damaged.add(str(error))
                continue
            if verdict is not None:
                self._known.add(verdict)
                found += 1
        for line in damaged.told(log):
            self._say(line)
            self._problems += 1
        self._damaged += damaged.rows
        return rows, found

    def _add(self, row: Row | IncidentRow) -> None:
        if isinstance(row, Row) and (verdict := verdicts.of_row(row)):
            self._known.add(verdict)

    def run(self) -> int:
        """Until the input is over, or a signal.

        Returns:
            The exit status: 1 if something could not be read, or delivered.
        """
        with self._closing, watched.served(self._settings.listen, self.status), self._signals():
            try:
                while self._learn():
                    if self._stop:
                        break
                while not (self._stop or self._input.over):
                    if not self._turn():
                        self._pause()
                self._end()
            except StalledError as error:
                self._give_up(error)
        for line in self._told():
            self._say(line)
        if isinstance(self._input, Once) and self._input.problem:
            self._say(self._input.problem)
            self._problems += 1
        if self._stop and not self._live and not self._unwritten:
            raise endings.Ended(self._stop)
        return 1 if self._problems or self._sink.dropped else 0

    def status(self) -> dict[str, Any]:
        """Its state, for those who watch."""
        return {
            "version": __version__,
            "problem": self._sink.problem if self._sink.dropped else "",
            **self._enricher.counts.as_dict(),
            "held": self._enricher.held,
            "held_bytes": self._enricher.held_bytes,
            "verdicts": self._known.verdicts,
            "not_verdicts": self._damaged + sum(reader.damaged.rows for _, reader, _ in self._feeds),
            "connections": len(self._known),
            "forgotten": self._known.forgotten,
            "dropped": self._sink.dropped,
        }

    def _turn(self) -> bool:
        """Read what is there, and write what can be; whether there was anything."""
        heard = self._learn()
        lines = self._input.lines()
        if not self._begun and lines:
            self._begun = True
            self._save()  # which file it is, before anything of it has passed
        self._write(self._enricher.take(self._new(lines), self._clock()))
        if self._reopen:
            self._reopen = False
            self._save()
            self._sink.reopen()
            if self._settings.follow:
                try:
                    self._hold()
                except states.StateError as error:  # one that began a moment ago
                    self._say(str(error))
            self._save()
        elif self._clock() >= self._saved + _SAVE:
            self._save()
        return heard or bool(lines) or not self._input.stood

    def _learn(self) -> bool:
        """Verdicts that have come; whether there were any."""
        heard = False
        for feed, reader, _ in self._feeds:
            for _ in range(_TURNS):
                if feed.over:
                    break
                lines = feed.lines()
                for line in lines:
                    if not isinstance(line, Piece) and (verdict := reader.verdict(line)):
                        self._known.add(verdict)
                heard |= bool(lines)
                if feed.stood:
                    break
        return heard

    def _pause(self) -> None:
        """Until something may have come, or the first event's time is over."""
        due = self._enricher.due()
        wait = _SIGNALS if due is None else min(max(due - self._clock(), 0.0), _SIGNALS)
        poll = select.poll()
        for each in (self._input, *(feed for feed, _, _ in self._feeds)):
            if each.over:
                continue
            numbers = each.filenos
            if numbers is None:
                wait = min(wait, _LOOK)
            for number in numbers or ():
                poll.register(number, select.POLLIN)
        poll.poll(wait * 1000 + 1)

    def _end(self) -> None:
        """Pass on all that is held, and what is still on its way."""
        if self._stop and self._live and not isinstance(self._input, Followed):
            until = self._clock() + _LAST
            while not self._input.over and self._clock() < until:
                self._turn()
                if self._input.stood:
                    break
        while self._enricher.held and not self._stop:
            self._learn()
            self._write(self._enricher.look(self._clock()))
            if self._enricher.held:
                self._pause()
        self._learn()
        self._write(self._enricher.end())
        if self._whole:
            self._write([b"\n"])
        self._save()
        self._sink.close()

    def _give_up(self, error: StalledError) -> None:
        """Whoever reads has taken nothing to the last: where it was is kept."""
        self._unwritten += self._enricher.held
        self._keep(self._written)
        later = "; they come with the next start" if self._settings.state else ""
        self._say(f"{self._unwritten:,} events were not written: {error}{later}")
        self._problems += 1

    def _write(self, lines: list[bytes]) -> None:
        put = 0
        try:
            for begin in range(0, len(lines), _AT_ONCE):  # much that waited may pass at once: no second copy of it all
                data = b"".join(lines[begin : begin + _AT_ONCE])
                put += len(data)
                self._put(data)
            if lines and (self._output is not None or self._settings.output == "-"):
                self._sink.flush()
        except StalledError as error:
            put -= error.waiting
            for number, line in enumerate(lines):
                put -= len(line)
                if put < 0:
                    self._unwritten = len(lines) - number
                    break
                self._written = self._enricher.marks[number]
            raise
        self._written = self._enricher.passed
        self._enricher.marks.clear()

    def _put(self, data: bytes) -> None:
        if self._whole is not None:
            self._whole += data
            end = self._whole.rfind(b"\n") + 1
            if not end and len(self._whole) > _WHOLE:
                self._say(f"a line of more than {_WHOLE >> 20} MiB goes to {self._settings.output} in parts")
                self._whole += b"\n"
                end = len(self._whole)
            data = bytes(self._whole[:end])
            del self._whole[:end]
        if data:
            self._sink.write(data)

    def _new(self, lines: list[bytes]) -> Iterator[bytes]:
        """Those that had not passed when the program before this one was killed."""
        for line in lines:
            if not self._again:
                yield line
                continue
            self._again -= line.endswith(b"\n")
            self._enricher.leave_out(line)

    def _save(self) -> None:
        self._saved = self._clock()
        # Until what had passed before has been passed over the state of then is the one to go on from.
        if self._settings.state and not self._again:
            self._sink.flush()
            self._keep(self._enricher.passed)

    def _keep(self, passed: int) -> None:
        """Where to go on when so many bytes of the input have passed."""
        if self._settings.state and isinstance(self._input, Followed):
            position = self._input.position(passed)
            if position is not None:
                states.save(self._settings.state, states.State(position, states.marked(self._output)))

    def _told(self) -> list[str]:
        """What has become of the events, in lines."""
        counts = self._enricher.counts
        text = f"{counts.events:,} events, {counts.with_flow:,} of flows: {counts.joined:,} with their verdict"
        for number, what in (
            (counts.unanswered, "without one"),
            (counts.several_vlans, "of these as their end points were in use in several VLANs"),
            (counts.waited, "had to wait"),
            (counts.hurried, "passed before their time was over, as too much was held"),
            (counts.theirs, "had an mmtt object already"),
            (counts.not_json, "not JSON"),
            (counts.ambiguous, "named a field twice"),
            (counts.too_long, "too long to be looked into"),
            (counts.truncated, "broke off"),
        ):
            text += f", {number:,} {what}" if number else ""
        lines = [text]
        for _, reader, where in self._feeds:
            lines += reader.damaged.told(Path(where))
            self._problems += reader.damaged.rows > 0
        if self._known.forgotten:
            lines.append(
                f"the verdicts on {self._known.forgotten:,} connections were forgotten, as there were too many; "
                "see --connections"
            )
        if self._sink.dropped:
            lines.append(f"{self._sink.dropped:,} events were lost: {self._sink.problem}")
        return lines

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it, a second one at once; SIGHUP has the output's file made anew, where it is live."""
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

        def stop(number: int, _: FrameType | None) -> None:
            self._stop = signal.Signals(number)
            self._sink.hurry(_HURRY)
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)

        def reopen(*_: object) -> None:
            self._reopen = True

        try:
            for each in (signal.SIGTERM, signal.SIGINT):
                if before[each] is not signal.SIG_IGN:
                    signal.signal(each, stop)
            if self._live:
                signal.signal(signal.SIGHUP, reopen)
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _file(where: str) -> Path | None:
    """The path that a place is; None if it is none."""
    if where == "-" or "://" in where or where.startswith(SOCKETS):
        return None
    return Path(where.removeprefix("file:"))


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _is_stdout(path: Path | None) -> bool:
    """Whether standard output goes to this file; None: to that which standard input is."""
    with suppress(OSError):
        about = os.fstat(1)
        return stat.S_ISREG(about.st_mode) and os.path.samestat(about, path.stat() if path else os.fstat(0))
    return False


def captured(
    captures: Sequence[str], bundle: str | None, checksums: bool, say: Callable[[str], None]
) -> Callable[[Callable[[Row | IncidentRow], None]], object]:
    """What classifies captures, and writes their rows.

    Raises:
        SourceError: there is none, or one can't be read.
        BundleError: the model can't be run.
    """
    from .. import bundle as bundles
    from ..classifier import Classifier
    from ..classify import run, sources
    from ..classify.progress import progress

    found = sources.expand(captures)
    if found.problems or None in found.captures:
        raise SourceError((*found.problems, "-: a capture to classify has to be a file")[0])
    classifier = Classifier(bundles.load(bundle, None))

    def write(to: Callable[[Row | IncidentRow], None]) -> None:
        with progress(len(found.captures)) as told:
            read, _ = run.classify(found.captures, classifier, to, told, say, checksums)
        if not read:
            raise SourceError(f"{os.fspath(found.captures[0] or '-')}: no capture could be read")

    return write
