"""Events in, the same events out, with what is said of their flows. No files, sockets or clocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, fields

from .events import Place, is_ambiguous, place, read
from .known import Known
from .lines import Ending, Piece, Rest
from .vlans import Vlans

#: Events, and bytes of them, that are held at most.
MAX_HELD, MAX_HELD_BYTES = 100_000, 128 << 20
#: Bytes of an event's own, beside its line, while it is held.
_BESIDE = 400


@dataclass
class Counts:
    """What has become of the events.

    Attributes:
        events: lines that came in, of whatever kind.
        with_flow: of TCP and UDP flows: what there can be verdicts on.
        joined: that passed with the verdict on their flow.
        unanswered: of flows, that passed without.
        several_vlans: of these, those whose end points are at that time in use in another VLAN, too.
        waited: that did not pass at once.
        hurried: that passed before their time was over, as too much was held.
        theirs: that had an ``mmtt`` object when they came, and passed as they were.
        not_json, ambiguous, too_long, truncated: that passed as they were, being no JSON object; naming a field twice;
            longer than :data:`.lines.MAX_LINE`; or a line that broke off before its end.
    """

    events: int = 0
    with_flow: int = 0
    joined: int = 0
    unanswered: int = 0
    several_vlans: int = 0
    waited: int = 0
    hurried: int = 0
    theirs: int = 0
    not_json: int = 0
    ambiguous: int = 0
    too_long: int = 0
    truncated: int = 0

    def as_dict(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Enricher:
    """Passes events on in the order in which they came, each once.

    An event of a flow that nothing is known of waits for its verdict, and those behind it with it, each no longer than
    ``wait`` seconds after it came.

    Args:
        wait: seconds; 0 where all verdicts that will ever be known are known.
        max_held, max_held_bytes: if more is held the first event passes without a verdict.

    Attributes:
        passed: bytes of the input that have passed.
        marks: the same after each line that was passed on, until they are cleared.
    """

    def __init__(
        self, known: Known, wait: float, max_held: int = MAX_HELD, max_held_bytes: int = MAX_HELD_BYTES
    ) -> None:
        self.counts = Counts()
        self.passed = 0
        self.marks: list[int] = []
        self._known, self._wait = known, wait
        self._max_held, self._max_bytes = max_held, max_held_bytes
        self._vlans = Vlans()
        #: Line, place (None: needs no verdict), and when it came.
        self._held: deque[tuple[bytes, Place | None, float]] = deque()
        self._bytes = 0

    @property
    def held(self) -> int:
        """Events that wait."""
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def take(self, lines: Iterable[bytes], now: float) -> list[bytes]:
        """Take lines, as :meth:`.lines.Lines.feed` makes them, and pass on what can be.

        Args:
            now: seconds, of any clock that only goes forward.
        """
        out = self.look(now) if self._held else []
        counts, held = self.counts, self._held
        for line in lines:
            is_whole = not isinstance(line, Piece)
            of = None
            if is_whole:
                of = self._place(line)
            else:
                self._piece(line)
            if not held:
                told = self._find(of)
                if told is not None or self._wait <= 0:
                    out.append(self._pass(line, of, told))
                    continue
            held.append((line, of, now))
            self._bytes += len(line) + _BESIDE
            counts.waited += is_whole
            if len(held) > self._max_held or self._bytes > self._max_bytes:
                counts.hurried += 1
                out += [self._first(), *self.look(now)]
        return out

    def look(self, now: float) -> list[bytes]:
        """Pass on what need not wait any more: as verdicts have come, or its time is over."""
        out: list[bytes] = []
        held = self._held
        while held:
            line, of, came = held[0]
            told = self._find(of)
            if told is None and now < came + self._wait:
                break
            held.popleft()
            self._bytes -= len(line) + _BESIDE
            out.append(self._pass(line, of, told))
        return out

    def leave_out(self, line: bytes) -> None:
        """It has passed before, and is not passed on again."""
        if not isinstance(line, Ending):
            self.passed += len(line)

    def due(self) -> float | None:
        """When the first of those that wait has waited for long enough; None if none does."""
        return self._held[0][2] + self._wait if self._held else None

    def end(self) -> list[bytes]:
        """Pass on all that is held, with what is known by now."""
        return [self._first() for _ in range(len(self._held))]

    def _first(self) -> bytes:
        line, of, _ = self._held.popleft()
        self._bytes -= len(line) + _BESIDE
        return self._pass(line, of, self._find(of))

    def _find(self, of: Place | None) -> bytes | None:
        if of is None or self._vlans.several(of):
            return b""
        return self._known.find(of)

    def _pass(self, line: bytes, of: Place | None, told: bytes | None) -> bytes:
        if not isinstance(line, Ending):
            self.passed += len(line)
        self.marks.append(self.passed)
        if not told:
            self.counts.unanswered += of is not None
            self.counts.several_vlans += of is not None and self._vlans.several(of)
            return line
        self.counts.joined += 1
        end = line.rindex(b"}")
        return b'%b,"mmtt":%b%b' % (line[:end], told, line[end:])

    def _piece(self, line: bytes) -> None:
        """Count what is no whole event: with its last part."""
        if isinstance(line, Rest):
            self.counts.events += 1
            self.counts.truncated += 1
        elif line.endswith(b"\n") and not isinstance(line, Ending):
            self.counts.events += 1
            self.counts.too_long += 1

    def _place(self, line: bytes) -> Place | None:
        """Count an event; where a verdict belongs in it."""
        counts = self.counts
        counts.events += 1
        event = read(line)
        if event is None:
            counts.not_json += 1
            return None
        if "mmtt" in event or "mmtt_incident" in event:
            counts.theirs += 1
            return None
        of = place(event)
        if of is None:
            return None
        if (line.count(b'"src_ip"') > 1 or line.count(b'"flow_id"') > 1) and is_ambiguous(line):
            counts.ambiguous += 1
            return None
        counts.with_flow += 1
        self._vlans.saw(of)
        return of
