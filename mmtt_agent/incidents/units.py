"""Evidence on many units at once: sums that fade, a row of arrays for each unit, and what is made of them.

All sums are of what is in the same epoch in one order, so that the same evidence gives the same features to the bit,
however it came in.
"""

from __future__ import annotations

import numpy as np

#: Gaps between connections below which nothing is regular.
MIN_GAPS = 4
#: Connections that begin within so many microseconds of the one before are one start: a browser opens several.
TOGETHER = 1_000_000
#: Strongest flows that are remembered by name.
STRONGEST = 3
#: Widths of Flows.likeness.
LIKENESS = 16
# Spread of the logarithms of gaps at which they are half as regular as can be: jitter of about a third.
_HALF_REGULAR = 0.25

# Less than so much of a window is none.
_NOTHING = 1e-9
#: Uids as they are kept; Zeek's have no more letters.
NAME = np.dtype("S18")


class Units:
    """Rows of evidence. A row is taken with :meth:`take` and given back with :meth:`free`.

    Args:
        rows: how many there can be. Those that are not used take no memory: the system gives it when it is written to.
        kinds: how many kinds of malicious there are.
        half_life: microseconds.
    """

    def __init__(self, rows: int, kinds: int, half_life: float) -> None:
        self.half_life = half_life
        self._free: list[int] = []
        self._taken: list[tuple[int, int]] = []
        self._used = 0
        #: Microseconds: as of when the fading sums are; starts of the first and the latest connection.
        self.at = np.zeros(rows, np.int64)
        self.first = np.zeros(rows, np.int64)
        self.last = np.zeros(rows, np.int64)
        # Fading: windows, their log-odds and likeness; connections; tries; pairs; gaps' number, logarithm, its square.
        self._weight = np.zeros(rows)
        self._odds = np.zeros(rows)
        self._alike = np.zeros((rows, LIKENESS), np.float32)
        self._connections = np.zeros(rows, np.float32)
        self._short = np.zeros(rows, np.float32)
        self._failed = np.zeros(rows, np.float32)
        self._fan = np.zeros(rows, np.float32)
        self._sought = np.zeros(rows, np.float32)
        self._gaps = np.zeros((rows, 3), np.float32)
        self._kinds = np.zeros((rows, kinds), np.float32)
        #: Not fading.
        self.connections = np.zeros(rows, np.int32)
        self.short = np.zeros(rows, np.int32)
        self.failed = np.zeros(rows, np.int32)
        self.fan = np.zeros(rows, np.int32)
        self.orig_bytes = np.zeros(rows, np.int64)
        self.resp_bytes = np.zeros(rows, np.int64)
        self.top = np.zeros((rows, STRONGEST), np.float32)
        self.top_uid = np.zeros((rows, STRONGEST), NAME)
        #: The latest probability; -1 where there is none yet.
        self.score = np.zeros(rows, np.float32)
        self.open = np.zeros(rows, bool)

    def __len__(self) -> int:
        return self._used - len(self._free)

    def take(self, ts: int) -> int:
        """A row without evidence that begins at ``ts``; to be used after the next :meth:`settle`."""
        row = self._free.pop() if self._free else self._used
        if row == self._used:
            self._used += 1
        self._taken.append((row, ts))
        return row

    def settle(self, now: int) -> np.ndarray:
        """Make the rows that have been taken, all at once, their sums as of ``now``; which they are."""
        if not self._taken:
            return np.zeros(0, np.int64)
        rows, ts = np.array(self._taken, np.int64).T
        self._taken.clear()
        self.first[rows] = self.last[rows] = ts
        self.at[rows] = now
        self.score[rows] = -1
        self.top[rows] = -np.inf
        settled: np.ndarray = rows
        return settled

    def inherit(self, rows: np.ndarray, other: Units, theirs: np.ndarray) -> None:
        """Copy what ``other`` knows."""
        for name, array in vars(self).items():
            if isinstance(array, np.ndarray):
                array[rows] = getattr(other, name)[theirs]
        self.score[rows], self.open[rows] = -1, False

    def free(self, rows: np.ndarray) -> None:
        """Give rows back, each once."""
        for array in self._arrays():
            array[rows] = 0
        self._free += rows.tolist()

    def in_use(self) -> np.ndarray:
        """Rows that are taken."""
        used = np.ones(self._used, bool)
        used[self._free] = False
        return np.flatnonzero(used)

    def _arrays(self) -> list[np.ndarray]:
        return [value for value in vars(self).values() if isinstance(value, np.ndarray)]

    # What comes in. Rows may be named more than once, and are in order of time.

    def fade(self, rows: np.ndarray, now: int) -> None:
        """Bring the sums of ``rows``, each once, to the time ``now``."""
        factor = np.exp2(-(now - self.at[rows]).clip(0) / self.half_life)
        for sums in (
            self._weight, self._odds, self._connections, self._short, self._failed, self._fan, self._sought,
        ):  # fmt: skip
            sums[rows] *= factor
        for vectors in (self._alike, self._gaps, self._kinds):
            vectors[rows] *= factor[:, None].astype(np.float32)
        self.at[rows] = now

    def add_flows(
        self, rows: np.ndarray, ts: np.ndarray, new: np.ndarray, log_odds: np.ndarray, kinds: np.ndarray,
        likeness: np.ndarray, orig_bytes: np.ndarray, resp_bytes: np.ndarray, uids: np.ndarray,
    ) -> None:  # fmt: skip
        """Windows with a verdict, after :meth:`fade`; ``new``: the first of its connection."""
        counts = self._faded(rows, ts)
        np.add.at(self._weight, rows, counts)
        np.add.at(self._odds, rows, counts * log_odds)
        if likeness.shape[1]:
            np.add.at(self._alike, rows, (counts[:, None] * likeness).astype(np.float32))
        if self._kinds.shape[1]:
            malicious = counts / (1 + np.exp(-np.clip(log_odds, -500, 500)))
            np.add.at(self._kinds, rows, (malicious[:, None] * kinds).astype(np.float32))
        np.add.at(self._connections, rows[new], counts[new].astype(np.float32))
        np.add.at(self.connections, rows[new], 1)
        np.add.at(self.orig_bytes, rows, orig_bytes)
        np.add.at(self.resp_bytes, rows, resp_bytes)
        self._add_starts(rows[new], ts[new], counts[new])
        self._add_strongest(rows, log_odds, uids)

    def add_tries(self, rows: np.ndarray, ts: np.ndarray, failed: np.ndarray, short: np.ndarray) -> None:
        """Connections without a verdict, after :meth:`fade`."""
        counts = self._faded(rows, ts).astype(np.float32)
        for fading, total, many in ((self._failed, self.failed, failed), (self._short, self.short, short)):
            np.add.at(fading, rows, counts * many)
            np.add.at(total, rows, many)
        self._seen(rows, ts)

    def add_pairs(self, rows: np.ndarray) -> None:
        """A new pair that each has a part in."""
        np.add.at(self._fan, rows, 1)
        np.add.at(self.fan, rows, 1)

    def add_sought(self, rows: np.ndarray) -> None:
        """A new pair that each has a part in, of which the first that is known was not answered or refused."""
        np.add.at(self._sought, rows, 1)

    def _faded(self, rows: np.ndarray, ts: np.ndarray) -> np.ndarray:
        faded: np.ndarray = np.exp2(-(self.at[rows] - ts).clip(0) / self.half_life)
        return faded

    def _seen(self, rows: np.ndarray, ts: np.ndarray) -> None:
        np.minimum.at(self.first, rows, ts)
        np.maximum.at(self.last, rows, ts)

    def _add_starts(self, rows: np.ndarray, ts: np.ndarray, counts: np.ndarray) -> None:
        order = np.argsort(rows, kind="stable")
        rows, ts, counts = rows[order], ts[order], counts[order]
        before = np.empty_like(ts)
        before[1:] = ts[:-1]
        fresh = np.ones(len(rows), bool)
        fresh[1:] = rows[1:] != rows[:-1]
        before[fresh] = self.last[rows[fresh]]
        # The row's very first connection follows none.
        known = ~fresh | (self.connections[rows] > _run_lengths(fresh))
        gap = ts - before
        known &= gap >= TOGETHER
        gone = np.log(np.maximum(gap, 1) / 1e6)
        of = np.stack([np.ones(len(rows)), gone, gone**2], 1) * (counts * known)[:, None]
        np.add.at(self._gaps, rows, of.astype(np.float32))
        self._seen(rows, ts)

    def _add_strongest(self, rows: np.ndarray, log_odds: np.ndarray, uids: np.ndarray) -> None:
        better = np.flatnonzero(log_odds > self.top[rows, -1])
        order = better[np.lexsort((-log_odds[better], rows[better]))]
        if not len(order):
            return
        begins = np.append(True, np.diff(rows[order]) != 0)
        place = np.arange(len(order)) - np.repeat(np.flatnonzero(begins), _run_lengths(begins, each=False))
        number = np.cumsum(begins) - 1
        kept = place < STRONGEST
        of = rows[order][begins]
        top = np.concatenate([self.top[of], np.full((len(of), STRONGEST), -np.inf, np.float32)], 1)
        names = np.concatenate([self.top_uid[of], np.zeros((len(of), STRONGEST), NAME)], 1)
        top[number[kept], STRONGEST + place[kept]] = log_odds[order][kept]
        names[number[kept], STRONGEST + place[kept]] = uids[order][kept]
        best = np.argsort(-top, axis=1, kind="stable")[:, :STRONGEST]
        self.top[of] = np.take_along_axis(top, best, 1)
        self.top_uid[of] = np.take_along_axis(names, best, 1)

    # What is made of it.

    def sums(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds of the windows, faded and added up, and how many windows that are, (rows,) each."""
        return self._odds[rows], self._weight[rows]

    def columns(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Features by name, float64 (rows,) each, as of when each row was last faded."""
        odds, weight = self.sums(rows)
        some = weight > _NOTHING
        tries = self._short[rows].astype(float) + self._failed[rows]
        return {
            "mean": np.where(some, odds / np.where(some, weight, 1), 0),
            "top": np.where(some, self.top[rows, 0], 0),
            "number": np.log1p(self._connections[rows].astype(float)),
            "likeness": self._likeness(rows, weight),
            "regular": self.regularity(rows)[0],
            "tries": np.log1p(tries),
            "failed": np.log1p(self._failed[rows].astype(float)),
            "fan": np.log1p(self._fan[rows].astype(float)),
            "sought": self._sought[rows].astype(float),
            "outward": np.log((self.orig_bytes[rows] + 100) / (self.resp_bytes[rows] + 100)).clip(-5, 5),
            "none": (~some).astype(float),
        }

    def _likeness(self, rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """The mean product of two different windows' vectors."""
        squared = (self._alike[rows].astype(float) ** 2).sum(1)
        several = weight > 1.5
        pairs = np.where(several, weight**2 - weight, 1)
        alike: np.ndarray = np.where(several, (squared - weight) / pairs, 0).clip(0, 1)
        return alike

    def regularity(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How regular connections come, 0 to 1, and the time between them in seconds (geometric mean), (rows,) each."""
        number, total, squares = self._gaps[rows].astype(float).T
        divided = np.maximum(number, 1e-9)
        mean = total / divided
        spread = np.sqrt((squares / divided - mean**2).clip(0))
        regular = np.exp2(-((spread / _HALF_REGULAR) ** 2)) * (number > MIN_GAPS - 0.5)
        return regular, np.exp(mean)

    def shares(self, rows: np.ndarray) -> np.ndarray:
        """(rows, kinds): how likely each kind is, where a row's windows are malicious; 0 without any window."""
        found = self._kinds[rows].astype(float)
        total = found.sum(1, keepdims=True)
        shares: np.ndarray = found / np.where(total > 0, total, 1)
        return shares

    def mean(self, row: int) -> float:
        """Mean log-odds of the row's windows; -inf without any."""
        return float(self._odds[row] / self._weight[row]) if self._weight[row] > _NOTHING else -np.inf


def _run_lengths(begins: np.ndarray, each: bool = True) -> np.ndarray:
    """How long runs are, of each element's or of each run."""
    lengths = np.diff(np.append(np.flatnonzero(begins), len(begins)))
    return np.repeat(lengths, lengths) if each else lengths
