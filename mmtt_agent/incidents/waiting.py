"""Evidence that has come in and is not judged yet, by epochs of its own time, whatever order it came in."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .records import Flows, Try

#: Microseconds of evidence that are judged at once.
EPOCH = 10_000_000
# Connections that are remembered, so that a window that comes twice is counted once: so many, and those before them.
_REMEMBERED = 50_000


class Waiting:
    """
    Attributes:
        epoch: the first that is still to be judged; evidence from before it is late, and goes with that one.
        late: windows and tries that were.
        repeated: windows that had come before.
        without_ends: windows of which nobody said whose they are.
    """

    def __init__(self) -> None:
        self.epoch = -(1 << 60)
        self.late = self.repeated = self.without_ends = 0
        self._flows: dict[int, list[tuple[Flows, np.ndarray, np.ndarray]]] = {}
        self._tries: dict[int, list[Try]] = {}
        self._seen: dict[str, int] = {}
        self._seen_before: dict[str, int] = {}

    def add_flows(self, flows: Flows) -> None:
        new = np.fromiter(map(self._remember, flows.uid, flows.window), np.int8, len(flows))
        epochs = flows.ts // EPOCH
        self.late += int(np.count_nonzero(epochs < self.epoch))
        epochs = np.maximum(epochs, self.epoch)
        counted = new >= 0
        for epoch in np.unique(epochs[counted]).tolist():
            rows = np.flatnonzero(counted & (epochs == epoch))
            self._flows.setdefault(epoch, []).append((flows, rows, new[rows] > 0))

    def add_tries(self, tries: Iterable[Try]) -> None:
        for each in tries:
            epoch = each.ts // EPOCH
            self.late += epoch < self.epoch
            self._tries.setdefault(max(epoch, self.epoch), []).append(each)

    def epochs(self, end: int | None) -> list[int]:
        """Those before ``end`` that there is evidence of, in order; all without ``end``."""
        return sorted(each for each in {*self._flows, *self._tries} if end is None or each < end)

    def take(self, epoch: int) -> tuple[Flows | None, np.ndarray, list[Try]]:
        """The windows of an epoch, of which of them their connection is new (n,), and the tries, each in one order
        however they came in.
        """
        tries = _by_pair(self._tries.pop(epoch, ()))
        parts = self._flows.pop(epoch, None)
        if not parts:
            return None, np.zeros(0, bool), tries
        flows, new = _join([(flows, rows) for flows, rows, _ in parts]), np.concatenate([new for *_, new in parts])
        has_ends = np.fromiter(map(_both, flows.orig, flows.resp), bool, len(flows))
        # What is alike in all of these is alike in what is added up.
        order = np.lexsort((flows.resp_bytes, flows.orig_bytes, flows.log_odds, flows.ts))
        order = order[has_ends[order]]
        self.without_ends += len(flows) - len(order)
        return (_join([(flows, order)]), new[order], tries) if len(order) else (None, new[:0], tries)

    def _remember(self, uid: str, window: int) -> int:
        """1 for the first window of a connection, 0 for another, -1 for one that has come before."""
        before = self._seen.get(uid) or self._seen_before.get(uid, 0)
        if before >> window & 1:
            self.repeated += 1
            return -1
        self._seen[uid] = before | 1 << window
        if len(self._seen) >= _REMEMBERED:
            self._seen_before, self._seen = self._seen, {}
        return int(not before)


def _by_pair(tries: Iterable[Try]) -> list[Try]:
    """One for each pair, in one order, however those who tell of them had added them up."""
    of_pair: dict[tuple[str, str, str], Try] = {}
    for each in tries:
        pair = each.orig, each.resp, each.resp_p
        if (one := of_pair.get(pair)) is not None:
            each = Try(min(one.ts, each.ts), *pair, one.failed + each.failed, one.short + each.short)  # noqa: PLW2901
        of_pair[pair] = each
    return sorted(of_pair.values(), key=lambda each: (each.ts, each.resp_p, each.failed, each.short))


def _both(orig: str, resp: str) -> bool:
    return bool(orig) and bool(resp)


def _join(parts: list[tuple[Flows, np.ndarray]]) -> Flows:
    """Rows of several, one after the other."""

    def listed(name: str) -> list[str]:
        found: list[str] = []
        for flows, rows in parts:
            values = getattr(flows, name)
            found += [values[row] for row in rows.tolist()]
        return found

    def packed(name: str) -> np.ndarray:
        return np.concatenate([getattr(flows, name)[rows] for flows, rows in parts])

    return Flows(
        ts=packed("ts"),
        orig=listed("orig"),
        resp=listed("resp"),
        resp_p=listed("resp_p"),
        uid=listed("uid"),
        window=(),
        log_odds=packed("log_odds"),
        kinds=packed("kinds"),
        likeness=packed("likeness"),
        orig_bytes=packed("orig_bytes"),
        resp_bytes=packed("resp_bytes"),
    )
