"""The thresholds that give about so many notices a day, from the scores that the site's own traffic had.

Conformal, by class (a flow's service, an incident's unit): of what could raise a notice the same share does so in each,
so that one whose scores are high takes nothing of the others'. Of what is alike Zeek tells once an hour, and it counts
once here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import LearnError

#: Scores have four decimals: thresholds are counted in these, up to the highest score there is.
STEPS = 10_000
#: Microseconds for which Zeek does not repeat a notice: Notice::default_suppression_interval.
SUPPRESSED = 3_600_000_000
#: Classes of which fewer notices are to be expected have their threshold together: one of their own would be chance.
FEW = 5
#: Days that must have been seen to tell from them how days differ.
_DAYS = 3
_DAY = 86_400_000_000
#: Of the standard normal distribution, for an interval that holds nine in ten.
_NINETY = 1.645
#: How often the share that gives the budget is looked for between two others.
_HALVED = 30


class BudgetError(LearnError):
    """No thresholds can be told; one line that says why, and what to do."""


class OutOfReach(BudgetError):
    """No threshold gives about as many notices as are asked for.

    Attributes:
        notices: the number nearest to it that one gives.
    """

    def __init__(self, notices: int) -> None:
        super().__init__(f"the nearest number of notices is {notices}")
        self.notices = notices


class TooMany(OutOfReach):
    """There are more at the highest score already."""


class TooFew(OutOfReach):
    """All there is are fewer."""


@dataclass(frozen=True)
class Events:
    """``n`` things that raise a notice if their score is high enough, in any order.

    Attributes:
        ts: int64 (n,), µs since 1970.
        score: int64 (n,), in STEPS.
        of: int64 (n,), the class: an index of ``names``.
        alike: int64 (n,), from 0: what has the same number is the same for Zeek.
    """

    ts: np.ndarray
    score: np.ndarray
    of: np.ndarray
    alike: np.ndarray
    names: Sequence[str]

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[int, int, int, int]], names: Sequence[str]) -> Events:
        """From (ts, score, of, alike) of each."""
        ts, score, of, alike = np.array([*rows], np.int64).reshape(-1, 4).T
        return cls(ts, score, of, alike, names)

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: np.ndarray) -> Events:
        return Events(self.ts[rows], self.score[rows], self.of[rows], self.alike[rows], self.names)

    def in_order(self) -> Events:
        """By what is alike, and then by time."""
        return self[np.lexsort((self.ts, self.alike))]


@dataclass(frozen=True)
class Proposal:
    """
    Attributes:
        thresholds: int64 (classes,), in STEPS, the least score of a notice.
        others: that of classes that were not seen.
        together: bool (classes,), those that have ``others``, as too few notices are to be expected of each.
        full: bool (classes,), those of which there are more than their share at the highest score already.
    """

    thresholds: np.ndarray
    others: int
    together: np.ndarray
    full: np.ndarray


def notices(events: Events, thresholds: np.ndarray) -> np.ndarray:
    """Which of ``events``, as :meth:`Events.in_order` has them, raise a notice: int64 rows.

    The first does, and of what is alike the next that comes more than SUPPRESSED after one that did.
    """
    rows = np.flatnonzero(events.score >= thresholds[events.of])
    if not len(rows):
        return rows
    ts, alike = events.ts[rows], events.alike[rows]
    # One axis on which what is not alike is far apart.
    far = int(ts.max() - ts.min()) + 2 * SUPPRESSED
    at = ts - ts.min() + np.unique(alike, return_inverse=True)[1] * far
    following = np.searchsorted(at, at + SUPPRESSED, side="right")
    ends = np.searchsorted(alike, alike, side="right")
    now = np.flatnonzero(np.diff(alike, prepend=-1))
    told = []
    while len(now):
        told.append(now)
        then = following[now]
        now = then[then < ends[now]]
    found: np.ndarray = rows[np.sort(np.concatenate(told))]
    return found


def propose(events: Events, most: float, least: np.ndarray | None = None) -> Proposal:
    """The lowest thresholds with which ``events`` raise ``most`` notices and no more.

    Args:
        least: int64 (classes,), thresholds below which nothing is known.

    Raises:
        TooMany, TooFew: there are none.
    """
    events = events.in_order()
    least = np.zeros(len(events.names), np.int64) if least is None else least
    if (top := len(notices(events, np.full(len(least), STEPS)))) > most:
        raise TooMany(top)
    possible = len(notices(events, least))
    if possible <= most:
        raise TooFew(possible)
    counts = _Counts(events, least)
    alone, few = _groups(counts, len(least), most / possible)
    groups = [*((each,) for each in alone), *([few] if few else [])]

    def at(share: float) -> np.ndarray:
        thresholds: np.ndarray = least.copy()
        for group in groups:
            thresholds[list(group)] = np.maximum(least[list(group)], counts.threshold(group, share))
        return thresholds

    # The share of what is possible that gives `most` has no closed form: classes suppress one another's notices, and a
    # class with very many of the highest score has more than its share.
    low, high = 0.0, min(1.0, most / possible)
    while high < 1 and len(notices(events, at(high))) <= most:
        low, high = high, min(1.0, 2 * high)
    for _ in range(_HALVED):
        middle = (low + high) / 2
        if len(notices(events, at(middle))) <= most:
            low = middle
        else:
            high = middle
    full = np.zeros(len(least), bool)
    for group in groups:
        full[list(group)] = counts.of(group, STEPS) > low * counts.of(group, 0)
    others = counts.threshold(few or tuple(range(len(least))), low)
    return Proposal(at(low), others, np.isin(np.arange(len(least)), few), full)


class _Counts:
    """How many notices classes would raise if there were no others, by their threshold."""

    def __init__(self, events: Events, least: np.ndarray) -> None:
        self._events, self._least = events, least
        self._parts: dict[tuple[int, ...], Events] = {}
        self._known: dict[tuple[tuple[int, ...], int], int] = {}

    def of(self, classes: tuple[int, ...], threshold: int) -> int:
        if (classes, threshold) not in self._known:
            thresholds = np.maximum(self._least, threshold)
            self._known[classes, threshold] = len(notices(self._part(classes), thresholds))
        return self._known[classes, threshold]

    def _part(self, classes: tuple[int, ...]) -> Events:
        if classes not in self._parts:
            self._parts[classes] = self._events[np.isin(self._events.of, classes)]
        return self._parts[classes]

    def threshold(self, classes: tuple[int, ...], share: float) -> int:
        """The lowest with which no more than a share of all they could raise is raised; the highest there is if none
        is high enough.

        It is the lowest score that is told, not the next after the highest that is not: of as many more of the same
        kind as many are to be expected above the one as were here, above the other one more.
        """
        most = share * self.of(classes, 0)
        low, high = 0, STEPS
        while low < high:
            middle = (low + high) // 2
            if self.of(classes, middle) <= most:
                high = middle
            else:
                low = middle + 1
        scores = self._part(classes).score
        told = scores[scores >= low]
        return int(told.min()) if len(told) else low


def _groups(counts: _Counts, classes: int, share: float) -> tuple[list[int], tuple[int, ...]]:
    """The classes that have a threshold of their own, and those that have one together."""
    expected = [share * counts.of((each,), 0) for each in range(classes)]
    by_number = sorted(range(classes), key=lambda each: -expected[each])
    alone = [each for each in by_number if expected[each] >= FEW]
    few = by_number[len(alone) :]
    while few and alone and sum(expected[each] for each in few) < FEW:
        few.append(alone.pop())
    return alone, tuple(sorted(few))


@dataclass(frozen=True)
class Rate:
    """Notices a day.

    Attributes:
        mean: over the time that was seen.
        low, high: nine in ten such intervals hold what it would be over a very long time.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Seen:
    """When the site's traffic was seen.

    Attributes:
        days: how long, in days; longer gaps don't count.
        whole: the days (UTC, since 1970) that were seen as a whole.
    """

    days: float
    whole: tuple[int, ...]

    @property
    def tells_days_apart(self) -> bool:
        """Whether :meth:`rate` knows how days differ, rather than take what comes for chance alone."""
        return len(self.whole) >= _DAYS

    def rate(self, ts: np.ndarray) -> Rate:
        """Of notices at these times, int64 (n,), µs.

        The interval is Poisson's (Byar's approximation), wider by as much as whole days differ more than chance.
        """
        n, dispersion = len(ts), 1.0
        if self.tells_days_apart and n:
            by_day = np.array([np.count_nonzero(ts // _DAY == day) for day in self.whole])
            if by_day.mean() > 0:
                dispersion = max(1.0, float(by_day.var(ddof=1) / by_day.mean()))
        scale = dispersion / self.days
        return Rate(
            n / self.days, scale * _poisson(n / dispersion, -_NINETY), scale * _poisson(n / dispersion, _NINETY)
        )


def _poisson(n: float, z: float) -> float:
    """An end of the interval of the mean that ``n`` was counted of."""
    n += z > 0
    return n * max(0.0, 1 - 1 / (9 * n) + z / (3 * math.sqrt(n))) ** 3 if n > 0 else 0.0
