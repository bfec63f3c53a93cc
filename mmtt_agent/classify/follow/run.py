"""A directory's captures in, rows out, for as long as there may come more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from ...capture import CaptureError
from ...capture.live import Found
from ...classifier import Classifier
from ...incidents import Tracker
from ...incidents.records import LATEST
from ..row import IncidentRow, Row
from ..rows import rows
from ..run import wrong
from .files import Arrivals, Seen, sequence, unpacked
from .output import Output
from .state import Place, State, alone
from .stream import Stream

#: Seconds from one look at the directory to the next; more where a look takes long, so that it is a hundredth of that.
_EVERY = 1.0
_SHARE = 100
#: Seconds since it was written to after which the last capture of a sequence is its end, and what is open in it is
#: told: as long as a TCP connection may be silent.
_QUIET = 300.0
#: µs for which evidence waits for that of other sequences that is as old.
_PATIENCE = 3_600_000_000


class Follower:
    """
    Args:
        say: takes the lines for standard error.
        checksums: leave out packets with a wrong checksum, as Zeek does.
        seed: of community IDs; None: rows have none.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        state: State,
        output: Output,
        classifier: Classifier,
        say: Callable[[str], None],
        checksums: bool = True,
        seed: int | None = None,
    ) -> None:
        self._arrivals, self._state, self._output, self._say = arrivals, state, output, say
        self._classifier, self._checksums, self._seed = classifier, checksums, seed
        #: One for all captures: who is up to something may be so in many of them.
        self._tracker = Tracker(classifier.bundle.incidents) if classifier.bundle.incidents else None
        self._streams: dict[str, Stream] = {}
        #: How far each sequence has been read, and the furthest of all, in µs since 1970.
        self._read: dict[str, int] = {}
        self._furthest = 0
        self._latest = ""  # the capture that was taken last
        self._since = time.monotonic()
        self._reopen = False
        #: Captures that have been lost since the start, all or a part of them.
        self.wrong = 0

    def rotate(self) -> None:
        """Begin logs that have been moved away anew, after the capture in hand. A signal's handler may call it."""
        self._reopen = True

    def run(self, once: bool = False, to_the_end: bool = False) -> None:
        """Take captures as they are finished.

        Args:
            once: those that are finished now, and no more.
            to_the_end: in the end tell what is open, too, as if no capture came after them.

        Raises:
            OSError: the directory can't be read, or the output can't be written.
        """
        self._commit()
        self._resume()
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
            self._end_streams()
            if once and not self._arrivals.settling:
                if to_the_end:
                    self._end()
                else:
                    self._tell_open()
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
            self.wrong += len(gone)
            gone.clear()

    def _take(self, seen: Seen) -> None:
        path = self._state.directory / seen.name
        if grown := self._state.has_grown(seen):
            self._say(f"{path}: {grown:,} bytes were added after it had been taken; they are left out")
            result = "grown"
        else:
            result = self._classified(path, seen)
        self._state.add(seen, result)
        self.wrong += result != "taken"
        self._latest, self._since = str(path), time.monotonic()
        self._state.forget(self._arrivals.names)
        self._commit()

    def _classified(self, path: Path, seen: Seen) -> str:
        """Write the rows that a capture completes; what has become of it."""
        name, of = str(path), sequence(seen.name)
        stream = self._streams.setdefault(of, Stream(self._checksums))
        evicted = stream.evicted
        if self._tracker:
            self._tracker.until = self._until(of)
        try:
            for found in stream.take(path):
                self._write(stream, found)
        except (CaptureError, OSError, MemoryError) as error:
            if not path.exists():
                self._say(f"{name}: gone before it was taken; keep more files, or give this more of the processor")
                return "gone"
            self._say(wrong(name, error))
            return "unreadable"
        for line in (*stream.problems, *stream.warnings):
            self._say(line)
        if stream.left_out:
            self._say(stream.left_out)
        if given_up := stream.evicted - evicted:
            self._say(f"{name}: {given_up:,} connections were given up, as too many were open at once")
        self._note(of, stream)
        self._state.goes_on(of, seen.name, stream.latest)
        return "damaged" if stream.problems else "taken"

    def _note(self, of: str, stream: Stream) -> None:
        self._read[of] = stream.latest
        self._furthest = max(self._furthest, stream.latest)

    def _write(self, stream: Stream, found: Found, told: bool = False) -> None:
        """``told``: its rows have been written before."""
        in_hand = stream.capture(stream.latest)
        for row in rows(found, in_hand, self._classifier, self._tracker, seed=self._seed, goes_on=True):
            if not told:
                self._output.write(row._replace(capture=stream.capture(row.ts)) if isinstance(row, Row) else row)

    def _resume(self) -> None:
        """Read the captures again in which connections began that may go on, as if the program had not ended."""
        for of in [*self._state.streams]:
            paths, lost = self._state.again(of)
            if lost:
                more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
                self._say(f"{lost[0]}{more}: no longer there: connections that went on after it count as new ones")
            stream = self._streams[of] = Stream(self._checksums)
            for path in paths:
                with suppress(CaptureError, OSError, MemoryError):
                    for found in stream.take(path):
                        self._write(stream, found, told=True)
                    self._note(of, stream)
                    self._latest = str(path)

    def _end_streams(self) -> None:
        """What is left to be told of sequences that nothing comes of any more."""
        waiting = self._arrivals.others("")
        for of in [*self._streams]:
            captures = self._state.streams.get(of, [])
            # What writes a sequence may be quiet; a capture that is no part of one is all that there is.
            alone = not captures or unpacked(captures[-1][0]) == of
            if of in waiting or not (alone or time.time() - self._state.written(of) >= _QUIET):
                continue
            self._end_stream(of)

    def _end_stream(self, of: str) -> None:
        stream = self._streams.pop(of)
        self._read.pop(of, None)
        self._write(stream, stream.end())
        self._state.streams.pop(of, None)
        self._commit()

    def _end(self) -> None:
        """Tell all that is left to be told."""
        for of in [*self._streams]:
            self._end_stream(of)
        if self._tracker and self._furthest:
            for incident in self._tracker.end():
                self._output.write(IncidentRow.of(incident, self._latest))
            self._commit()

    def _tell_open(self) -> None:
        for stream in self._streams.values():
            if stream.open:
                what = "a connection is" if stream.open == 1 else f"{stream.open:,} connections are"
                self._say(
                    f"{stream.capture(stream.latest)}: {what} still open at its end: the next run tells the rest, with "
                    f"the capture after it, or {_QUIET / 60:g} minutes after it was written; --to-the-end tells it now"
                )

    def _until(self, of: str) -> int:
        """Up to when all sequences but that one have been read: evidence from then on is still to come."""
        others = [self._read.get(name, begins) for name, begins in self._arrivals.others(of).items()]
        return max(min(others, default=LATEST), self._furthest - _PATIENCE)

    def _go_on(self) -> None:
        """Where no capture is being written, time goes on all the same, and incidents end."""
        if not self._tracker or not self._furthest or self._streams or self._arrivals.others(""):
            return
        now = self._furthest + int((time.monotonic() - self._since) * 1e6)
        self._tracker.until = now
        incidents = self._tracker.advance(now)
        for incident in incidents:
            self._output.write(IncidentRow.of(incident, self._latest))
        if incidents:
            self._commit()


def follow(
    directory: Path,
    matches: Sequence[str],
    state: Path | None,
    output: Callable[[dict[str, Place]], Output],
    once: bool,
    to_the_end: bool,
    classifier: Classifier,
    say: Callable[[str], None],
    checksums: bool,
    seed: int | None,
) -> bool:
    """Take a directory's captures as they are finished; see :class:`Follower`. SIGHUP rotates.

    Args:
        matches: patterns of their names; without any, what captures use to be called.
        state: None: what has been taken is noted down nowhere.
        output: opened with how far each log was written when the state was.
        seed: of community IDs; None: rows have none.

    Returns:
        Whether all of them were read, each to its end.

    Raises:
        StateError: the state, or a log, is somebody else's.
        OSError: the directory can't be read, or the output can't be written.
    """
    directory = Path(os.path.realpath(directory))
    with ExitStack() as held:
        if state:
            state.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(state))
        known = State.read(state, directory)
        into = output(known.places)
        held.callback(into.close)
        arrivals = Arrivals(directory, matches, known.is_done)
        follower = Follower(arrivals, known, into, classifier, say, checksums, seed)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: follower.rotate())
        try:
            follower.run(once, to_the_end)
        finally:
            told = [f"{number:,} {what}" for what, number in known.counts.items()]
            say(f"{directory}: captures so far: {', '.join(told) or 'none'}")
        return not follower.wrong
