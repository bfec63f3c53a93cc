"""A directory's captures in, rows out, for as long as there may come more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...capture import CaptureError, read_capture
from ...classifier import Classifier
from ...incidents import Incident, Tracker
from ...incidents.records import LATEST
from ..row import IncidentRow
from ..rows import rows
from ..run import wrong
from .files import Arrivals, Seen, sequence
from .output import Logs, Output, Printed
from .state import NAME, State, alone

#: Seconds from one look at the directory to the next; more where a look takes long, so that it is a hundredth of that.
_EVERY = 1.0
_SHARE = 100
#: µs for which evidence waits for that of other sequences that is as old.
_PATIENCE = 3_600_000_000


class Follower:
    """
    Args:
        say: takes the lines for standard error.
        checksums: leave out packets with a wrong checksum, as Zeek does.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        state: State,
        output: Output,
        classifier: Classifier,
        say: Callable[[str], None],
        checksums: bool = True,
    ) -> None:
        self._arrivals, self._state, self._output, self._say = arrivals, state, output, say
        self._classifier, self._checksums = classifier, checksums
        #: One for all captures: who is up to something may be so in many of them.
        self._tracker = Tracker(classifier.bundle.incidents) if classifier.bundle.incidents else None
        #: How far each sequence has been read, in µs since 1970.
        self._read: dict[str, int] = {}
        self._latest = ""  # the capture that was taken last
        self._since = time.monotonic()
        self._reopen = False

    def rotate(self) -> None:
        """Begin logs that have been moved away anew, after the capture in hand. A signal's handler may call it."""
        self._reopen = True

    def run(self, once: bool = False) -> None:
        """Take captures as they are finished.

        Args:
            once: those that are finished now, and no more.

        Raises:
            OSError: the directory can't be read, or the output can't be written.
        """
        self._commit()
        while True:
            begun = time.monotonic()
            finished = self._arrivals.look()
            took = time.monotonic() - begun
            self._tell()
            for seen in finished:
                self._take(seen)
                self._rotate()
            if finished:
                continue
            if once and not self._arrivals.settling:
                break
            self._go_on()
            self._rotate()
            time.sleep(max(_EVERY, _SHARE * took))

    def _rotate(self) -> None:
        if self._reopen:
            self._reopen = False
            self._output.reopen()
            self._commit()

    def _commit(self) -> None:
        self._state.places = self._output.commit()
        self._state.write()

    def _tell(self) -> None:
        arrivals = self._arrivals
        for line in arrivals.problems:
            self._say(line)
        arrivals.problems.clear()
        if gone := arrivals.gone:
            self._state.counts["gone"] = self._state.counts.get("gone", 0) + len(gone)
            more = f", and {len(gone) - 1:,} more" if len(gone) > 1 else ""
            self._say(f"{gone[0]}{more}: gone before it was taken; keep more files, or give this more of the processor")
            gone.clear()

    def _take(self, seen: Seen) -> None:
        path = self._state.directory / seen.name
        if grown := self._state.has_grown(seen):
            self._say(f"{path}: {grown:,} bytes were added after it had been taken; they are left out")
            self._state.add(seen, "grown")
        else:
            self._state.add(seen, self._classified(path, seen))
        self._latest, self._since = str(path), time.monotonic()
        self._state.forget(self._arrivals.names)
        self._commit()

    def _classified(self, path: Path, seen: Seen) -> str:
        """Write a capture's rows; what has become of it."""
        name, of = str(path), sequence(seen.name)
        try:
            capture = read_capture(path, name=name, checksums=self._checksums)
        except (CaptureError, OSError, MemoryError) as error:
            if not path.exists():
                self._say(f"{name}: gone before it was taken; keep more files, or give this more of the processor")
                return "gone"
            self._say(wrong(name, error))
            return "unreadable"
        for line in (*capture.problems, *capture.warnings):
            self._say(line)
        if text := capture.left_out:
            self._say(f"{name}: {text}")
        if self._tracker:
            self._tracker.until = self._until(of)
        for row in rows(capture, name, self._classifier, self._tracker, goes_on=True):
            self._output.write(row)
        latest = max((int(ts.max()) for ts in (capture.connections.ts, capture.windows.ts) if len(ts)), default=0)
        self._read[of] = max(self._read.get(of, 0), latest)
        return "damaged" if capture.problems else "taken"

    def _until(self, of: str) -> int:
        """Up to when all sequences but that one have been read: evidence from then on is still to come."""
        others = [self._read.get(name, begins) for name, begins in self._arrivals.others(of).items()]
        return max(min(others, default=LATEST), max(self._read.values(), default=0) - _PATIENCE)

    def _go_on(self) -> None:
        """Where no capture is being written, time goes on all the same, and incidents end."""
        if not self._tracker or not self._read or self._arrivals.others(""):
            return
        now = max(self._read.values()) + int((time.monotonic() - self._since) * 1e6)
        self._tracker.until = now
        self._write(self._tracker.advance(now))

    def _write(self, incidents: list[Incident]) -> None:
        for incident in incidents:
            self._output.write(IncidentRow.of(incident, self._latest))
        if incidents:
            self._commit()


def follow(
    directory: Path,
    matches: Sequence[str],
    form: str,
    output: Path | None,
    incidents: bool,
    state: Path | None,
    once: bool,
    classifier: Classifier,
    say: Callable[[str], None],
    checksums: bool,
) -> None:
    """Take a directory's captures as they are finished; see :class:`Follower`. SIGHUP rotates.

    Args:
        matches: patterns of their names; without any, what captures use to be called.
        form: "tsv" or "json".
        output: where the logs are; None prints.
        incidents: prints those instead of rows.
        state: None: beside the logs, or nowhere.

    Raises:
        StateError: the state, or a log, is somebody else's.
        OSError: the directory can't be read, or the output can't be written.
    """
    directory = Path(os.path.realpath(directory))
    if output:
        output.mkdir(parents=True, exist_ok=True)
        state = state or output / NAME
    with ExitStack() as held:
        if state:
            held.enter_context(alone(state))
        known = State.read(state, directory)
        into: Output = Logs(output, form, known.places) if output else Printed(form, incidents)
        held.callback(into.close)
        arrivals = Arrivals(directory, matches, known.is_done)
        follower = Follower(arrivals, known, into, classifier, say, checksums)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: follower.rotate())
        try:
            follower.run(once)
        finally:
            told = [f"{number:,} {what}" for what, number in known.counts.items()]
            say(f"{directory}: captures so far: {', '.join(told) or 'none'}")
