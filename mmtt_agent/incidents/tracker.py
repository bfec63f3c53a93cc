"""Flows in, incidents out. Evidence is judged by epochs of the traffic's own time, so that the order in which it comes
in does not matter. No sockets, threads or clocks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from .budget import LEAST, Budget
from .features import NEUTRAL, SCAN, beside, features
from .model import IncidentModel
from .reasons import reason
from .records import LATEST, MANY, Flows, Incident, Try
from .settings import OTHERS, Settings
from .table import ORIGINATOR, PAIR, RESPONDER, UNITS, Table
from .units import NAME
from .waiting import EPOCH, Waiting

#: Evidence that began so many microseconds ago has come in: a window lasts up to a minute, and Zeek looks after those
#: that have gone quiet every few seconds.
LATENESS = 90_000_000
#: An incident is closed when nothing has come of it for so many microseconds, or for so many times the usual time
#: between its connections.
QUIET = 3_600_000_000
QUIET_GAPS = 4
#: A row more is due when there are so many times the connections of the row before.
GROWN = 4
#: How alike windows must be for "like connections", and how regular their starts for "12 s apart".
_LIKE, _REGULAR = 0.7, 0.5
#: Of a unit's malicious windows, what share a kind must have to be named.
_SURE_OF_KIND = 0.5
# Windows, or rows, that are worked on at once: a few milliseconds.
_AT_ONCE = 512
# How often pairs that are past the horizon are looked for, in epochs that there is evidence of.
_LOOK_EVERY = 60
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Originator, responder and its port; None where there are many.
Ends = tuple[str | None, str | None, str | None]
Judged = Callable[[str, list[Ends], np.ndarray], None]


@dataclass(slots=True)
class _Open:
    """An incident that is open, or was until just now."""

    id: str
    unit: str
    row: int
    opened: int
    kind: str
    score: float
    connections: int
    closed: int | None = None


@dataclass(slots=True)
class _Placed:
    """Where evidence goes: the pairs' rows (n,), the hosts' numbers, and which of the pairs are new (n,)."""

    pairs: np.ndarray
    hosts: dict[str, list[int]]
    new: np.ndarray


class Tracker:
    """Keeps the evidence on pairs, originators and responders.

    Args:
        model: the bundle's.
        judged: called with what kind of units are judged, which they are (originator, responder and its port, None
            where there are many), and the evidence on them, (units, FEATURES).
        by_clock: time goes on by what :meth:`advance` or :meth:`steps` is told, not by the flows' own.
        budget: says from which score on there is an incident, once it has seen enough; it is told all scores.

    Raises:
        ValueError: the bundle has no threshold for the share that is asked for.

    Attributes:
        until: microseconds since 1970 that the flows' own time does not go past: as old ones are still to come.
        counts: incidents by state, pairs past the horizon.
    """

    def __init__(
        self,
        model: IncidentModel,
        settings: Settings | None = None,
        judged: Judged | None = None,
        by_clock: bool = False,
        budget: Budget | None = None,
    ) -> None:
        settings = settings or Settings()
        self._model = model
        self._budget = budget
        self._horizon = int(settings.horizon * 1e6)
        self.judge_by(settings)
        self._table = Table(len(model.kinds), self._horizon / 4, settings.max_pairs)
        self._waiting = Waiting()
        self._greatest = -(1 << 60)
        self._now = 0
        self._epochs = 0
        self._judged = judged
        self._by_clock = by_clock
        self.until = LATEST
        self._under_way: Iterator[None] | None = None
        #: By unit and row.
        self._open: dict[str, dict[int, _Open]] = {unit: {} for unit in UNITS}
        self._taken: set[str] = set()  # their ids
        self._closed: deque[tuple[tuple[str | None, ...], _Open]] = deque()
        self._found: list[Incident] = []
        self._counts: Counter[str] = Counter()

    def judge_by(self, settings: Settings) -> None:
        """Open incidents by the thresholds of these settings from now on. What is open stays so.

        Raises:
            ValueError: the bundle has no threshold for the share that is asked for, or judges no such units as the
                thresholds are for.
        """
        own = settings.thresholds
        if strange := [unit for unit in own if unit not in (*self._model.units, OTHERS)]:
            raise ValueError(
                f"there is a threshold for {strange[0]}, and the model judges {', '.join(self._model.units)}"
            )
        self._thresholds = {
            unit: own[unit]
            if unit in own
            else own[OTHERS]
            if OTHERS in own
            else self._model.threshold(unit, settings.share)
            for unit in self._model.units
        }

    # What comes in.

    def flows(self, flows: Flows) -> list[str]:
        """Take in windows with a verdict.

        Returns:
            For each the incident that it belongs to, empty if there is none: one that had been open for LATENESS when
            the window began, whatever has been heard of since.

        Raises:
            ValueError: the flows are not what they should be; none of them is taken in.
        """
        if not len(flows):
            return []
        if problem := flows.problem(len(self._model.kinds)):
            raise ValueError(problem)
        self._waiting.add_flows(flows)
        self._greatest = max(self._greatest, int(flows.ts.max()))
        if not self._by_clock:
            self._judge((min(self._greatest, self.until) - LATENESS) // EPOCH)
        if not any(self._open.values()) and not self._closed:
            return [""] * len(flows)
        return list(map(self._incident_of, flows.ts.tolist(), flows.orig, flows.resp, flows.resp_p))

    def tries(self, tries: Iterable[Try]) -> None:
        """Take in connections without a verdict.

        Raises:
            ValueError: one of them can't be; none is taken in.
        """
        tries = list(tries)
        for each in tries:
            if not (0 <= each.ts < LATEST and 0 <= each.failed < MANY and 0 <= each.short < MANY):
                raise ValueError(f"{each} can't be")
        self._waiting.add_tries(each for each in tries if each.orig and each.resp)

    def advance(self, now: int | None = None) -> list[Incident]:
        """What has been found since the last time.

        Args:
            now: microseconds since 1970: all evidence from LATENESS before it is judged. Without it, time goes on by
                the flows' own.
        """
        if now is not None:
            self._judge((now - LATENESS) // EPOCH)
        found, self._found = self._found, []
        return found

    def steps(self, now: int) -> Iterator[None]:
        """Judge as :meth:`advance` does, in steps of a few milliseconds, for those who have other work between them.
        What is found :meth:`advance` tells.
        """
        return self._judging((now - LATENESS) // EPOCH)

    def end(self) -> list[Incident]:
        """There will be no more: judge all that is left, and close what is open."""
        self._judge(None)
        for each in self._all_open():
            self._close(each, self._now)
        return self.advance()

    @property
    def counts(self) -> Counter[str]:
        """What has become of evidence, and incidents by state."""
        waiting = self._waiting
        return self._counts + Counter(
            {
                "late": waiting.late,
                "repeated": waiting.repeated,
                "without ends": waiting.without_ends,
                "pairs shed": self._table.shed,
            }
        )

    @property
    def pairs(self) -> int:
        """Pairs that there is evidence on."""
        return len(self._table)

    @property
    def open(self) -> int:
        """Incidents that are open."""
        return sum(map(len, self._open.values()))

    # Which incident a flow belongs to.

    def _incident_of(self, ts: int, orig: str, resp: str, resp_p: str) -> str:
        for unit, row in zip(UNITS, self._table.find(orig, resp, resp_p), strict=True):
            if row >= 0 and (found := self._open[unit].get(row)) and found.opened + LATENESS <= ts:
                return found.id
        for ends, found in self._closed:
            same = all(end in (None, given) for end, given in zip(ends, (orig, resp, resp_p), strict=True))
            if same and found.opened + LATENESS <= ts and found.closed is not None and ts <= found.closed:
                return found.id
        return ""

    # Judging.

    def _judge(self, end: int | None) -> None:
        """Judge the epochs before ``end``; all without it."""
        for _ in self._judging(end):
            pass

    def _judging(self, end: int | None) -> Iterator[None]:
        """The same, a part at a time. Whoever stops in between goes on with the next call, whatever that is."""
        if self._under_way is not None:
            yield from _rest(self._under_way)
        if end is None or end > self._waiting.epoch:
            self._under_way = self._epochs_before(end)
            yield from _rest(self._under_way)
        self._under_way = None

    def _epochs_before(self, end: int | None) -> Iterator[None]:
        for epoch in self._waiting.epochs(end):
            self._close_quiet(epoch * EPOCH)
            yield from self._one_epoch(*self._waiting.take(epoch, _AT_ONCE), now=(epoch + 1) * EPOCH)
        if end is None:
            return
        self._waiting.epoch = end
        self._close_quiet(end * EPOCH)
        while self._closed and (self._closed[0][1].closed or 0) < (end * EPOCH) - LATENESS:
            self._closed.popleft()

    def _one_epoch(self, flows: Iterator[tuple[Flows, np.ndarray]], tries: list[Try], now: int) -> Iterator[None]:
        self._now = now
        self._table.make_room()
        touched: dict[str, list[np.ndarray]] = {unit: [np.zeros(0, np.int64)] for unit in UNITS}
        for part, new in flows:
            placed = self._placed(zip(part.ts.tolist(), part.orig, part.resp, part.resp_p, strict=True))
            uids = np.array(part.uid, NAME)
            for unit, rows in self._taken_by(placed, now, touched):
                self._add_flows(unit, rows, part, new, uids)
            yield
        for start in range(0, len(tries), _AT_ONCE):
            some = tries[start : start + _AT_ONCE]
            placed = self._placed((each.ts, each.orig, each.resp, each.resp_p) for each in some)
            sought = placed.new & np.array([each.failed > 0 for each in some], bool)
            for unit, rows in self._taken_by(placed, now, touched):
                self._add_tries(unit, rows, some)
                found = rows[sought]
                self._table.units[unit].add_sought(found[found >= 0])
            yield
        judged = {unit: np.unique(np.concatenate(parts)) for unit, parts in touched.items()}
        for unit in UNITS:
            for start in range(0, len(judged[unit]), _AT_ONCE):
                self._score(unit, judged[unit][start : start + _AT_ONCE])
                yield
        # Of hosts first: a scan's pairs are no incidents of their own.
        for unit in reversed(UNITS):
            if unit in self._model.units:
                if self._budget:
                    self._budget.take(now, self._scores(unit, judged[unit]))
                self._look(unit, judged[unit], now)
        self._epochs += 1
        if self._epochs % _LOOK_EVERY == 0:
            self._counts["pairs forgotten"] += self._table.forget(now - self._horizon)

    def _taken_by(
        self, placed: _Placed, now: int, touched: dict[str, list[np.ndarray]]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """By kind of unit, the rows that evidence goes to, made and faded to ``now``; they are added to ``touched``."""
        self._table.settle(now)
        for unit in UNITS:
            units = self._table.units[unit]
            rows, grown = self._rows_of(unit, placed)
            own = np.unique(rows[rows >= 0])
            units.fade(own, now)
            units.add_pairs(grown)
            touched[unit].append(own)
            yield unit, rows

    def _score(self, unit: str, rows: np.ndarray) -> None:
        evidence = features(self._table, unit, rows, self._model.kinds)
        if unit in self._model.units:
            self._table.units[unit].score[rows] = self._model.units[unit].probability(evidence)
        if self._judged:
            self._judged(unit, [self._table.ends(unit, row) for row in rows.tolist()], evidence)

    def _placed(self, ends: Iterable[tuple[int, str, str, str]]) -> _Placed:
        placed = [self._table.place(*each) for each in ends]
        pairs, originators, responders, new = zip(*placed, strict=True) if placed else ((), (), (), ())
        return _Placed(
            np.array(pairs, np.int64), {ORIGINATOR: list(originators), RESPONDER: list(responders)}, np.array(new, bool)
        )

    def _rows_of(self, unit: str, placed: _Placed) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a kind of unit (n,), -1 for what has none; and those of hosts that have got a pair, if it is
        hosts."""
        if unit == PAIR:
            return placed.pairs, placed.pairs[:0]
        rows = self._table.host_rows(unit, placed.hosts[unit])
        grown = rows[placed.new]
        return rows, grown[grown >= 0]

    def _add_flows(self, unit: str, rows: np.ndarray, flows: Flows, new: np.ndarray, uids: np.ndarray) -> None:
        has = rows >= 0
        if not has.any():
            return
        self._table.units[unit].add_flows(
            rows[has], flows.ts[has], new[has], flows.log_odds[has], flows.kinds[has], flows.likeness[has],
            flows.orig_bytes[has], flows.resp_bytes[has], uids[has],
        )  # fmt: skip

    def _add_tries(self, unit: str, rows: np.ndarray, tries: Sequence[Try]) -> None:
        has = rows >= 0
        if has.any():
            ts, failed, short = np.array([(each.ts, each.failed, each.short) for each in tries], np.int64)[has].T
            self._table.units[unit].add_tries(rows[has], ts, failed, short)

    def _scores(self, unit: str, rows: np.ndarray) -> Iterator[tuple[str, float]]:
        """What could be an incident, and its score."""
        scores = self._table.units[unit].score
        for row in rows[scores[rows] >= LEAST].tolist():
            if unit != PAIR or not self._is_of_a_host(row):
                yield f"{unit} {self._table.ends(unit, row)}", float(scores[row])

    def _look(self, unit: str, rows: np.ndarray, now: int) -> None:
        """Open what is above the threshold; say of what is open how it has grown."""
        units, threshold = self._table.units[unit], self._thresholds[unit]
        if self._budget and self._budget.threshold is not None:
            threshold = self._budget.threshold
        for row in rows[(units.score[rows] >= threshold) | units.open[rows]].tolist():
            found = self._open[unit].get(row)
            if found is None:
                if unit != PAIR or not self._is_of_a_host(row):
                    self._begin(unit, row, now)
                continue
            found.score = max(found.score, round(float(units.score[row]), 4))
            kind = self._kind(unit, row)
            if self._connections(unit, row) >= GROWN * found.connections or (kind and not found.kind):
                found.kind = kind or found.kind
                found.connections = self._connections(unit, row)
                self._say(found, "grown", now)

    def _is_of_a_host(self, row: int) -> bool:
        """Whether the pair's originator or responder is an incident as a whole."""
        return any(int(rows[0]) in self._open[role] for role, rows in self._table.hosts_of(np.array([row])).items())

    def _begin(self, unit: str, row: int, now: int) -> None:
        units = self._table.units[unit]
        told = f"{unit} {int(units.first[row])} {now} {self._table.ends(unit, row)[2]} {float(units.score[row])!r}"
        name = _base62(told)
        while name in self._taken:
            name = _base62(told := told + "'")
        self._taken.add(name)
        found = _Open(
            name, unit, row, now, self._kind(unit, row), round(float(units.score[row]), 4), self._connections(unit, row)
        )
        self._open[unit][row] = found
        self._table.opened(unit, row)
        self._say(found, "opened", now)

    def _all_open(self) -> list[_Open]:
        return sorted(
            (each for of in self._open.values() for each in of.values()), key=lambda each: (each.opened, each.id)
        )

    def _close_quiet(self, now: int) -> None:
        due = []
        for each in self._all_open():
            units = self._table.units[each.unit]
            apart = float(units.regularity(np.array([each.row]))[1][0]) * 1e6
            quiet = int(units.last[each.row]) + int(min(max(QUIET, QUIET_GAPS * apart), self._horizon))
            if quiet <= now:
                due.append((quiet, each))
        for quiet, each in sorted(due, key=lambda one: (one[0], one[1].id)):
            self._close(each, quiet)

    def _close(self, found: _Open, ts: int) -> None:
        found.closed = ts
        found.connections = self._connections(found.unit, found.row)
        found.kind = self._kind(found.unit, found.row) or found.kind
        self._say(found, "closed", ts)
        self._closed.append((self._table.ends(found.unit, found.row), found))
        del self._open[found.unit][found.row]
        self._taken.discard(found.id)
        self._table.closed(found.unit, found.row)

    # What is said of it.

    def _connections(self, unit: str, row: int) -> int:
        units = self._table.units[unit]
        return int(units.connections[row]) + int(units.failed[row]) + int(units.short[row])

    def _kind(self, unit: str, row: int) -> str:
        """Empty where nobody can be sure."""
        units = self._table.units[unit]
        if unit == ORIGINATOR and "scan" in self._model.kinds:
            sought = float(units.columns(np.array([row]))["sought"][0])
            if sought >= SCAN or units.failed[row] > units.connections[row]:
                return "scan"
        shares = units.shares(np.array([row]))[0]
        return str(self._model.kinds[int(shares.argmax())]) if len(shares) and shares.max() >= _SURE_OF_KIND else ""

    def _beside(self, pair: int) -> dict[str, str | None]:
        """For either end of a pair the share of harmless windows that those of its other pairs are above, if it counts
        against the pair.
        """
        found: dict[str, str | None] = {}
        for role, rows in self._table.hosts_of(np.array([pair])).items():
            mean = float(beside(self._table, np.array([pair]), role, rows)[0])
            found[role] = self._model.rank(mean) if mean > NEUTRAL else None
        return found

    def _say(self, found: _Open, state: str, ts: int) -> None:
        self._counts[state] += 1
        units, row = self._table.units[found.unit], found.row
        orig, resp, resp_p = self._table.ends(found.unit, row)
        at = np.array([row])
        likeness = float(units.columns(at)["likeness"][0])
        regular, apart = (float(each[0]) for each in units.regularity(at))
        strong = units.top[row] > -np.inf
        others = self._beside(row) if found.unit == PAIR else dict.fromkeys(UNITS)
        self._found.append(
            Incident(
                ts=ts,
                id=found.id,
                state=state,
                unit=found.unit,
                orig=orig,
                resp=resp,
                resp_p=resp_p,
                kind=found.kind,
                score=found.score,
                connections=found.connections,
                first=int(units.first[row]),
                last=int(units.last[row]),
                orig_bytes=int(units.orig_bytes[row]),
                resp_bytes=int(units.resp_bytes[row]),
                reason=reason(
                    connections=int(units.connections[row]),
                    seconds=(int(units.last[row]) - int(units.first[row])) / 1e6,
                    like=likeness >= _LIKE,
                    apart=apart if regular >= _REGULAR else None,
                    rank=self._model.rank(units.mean(row)),
                    top_rank=self._model.rank(float(units.top[row, 0])),
                    failed=int(units.failed[row]),
                    short=int(units.short[row]),
                    responders=int(units.fan[row]) if found.unit == ORIGINATOR else None,
                    originators=int(units.fan[row]) if found.unit == RESPONDER else None,
                    beside_orig=others[ORIGINATOR],
                    beside_resp=others[RESPONDER],
                ),
                # A connection of several windows may be among them more than once.
                uids=tuple(dict.fromkeys(uid.decode() for uid in units.top_uid[row][strong].tolist())),
            )
        )


def _rest(steps: Iterator[None]) -> Iterator[None]:
    """The rest of them, which ``yield from`` would close if it were stopped in between."""
    for each in steps:  # noqa: UP028
        yield each


def _base62(text: str) -> str:
    number = int.from_bytes(blake2b(text.encode(), digest_size=9).digest(), "big")
    digits = []
    for _ in range(12):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return "I" + "".join(digits)
