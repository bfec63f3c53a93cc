"""Evidence that has come in and is not judged yet, by epochs of its own time, whatever order it came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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

    def take(self, epoch: int, at_once: int) -> tuple[Iterator[tuple[Flows, np.ndarray]], list[Try]]:
        """The windows of an epoch, so many at a time, with which of them are of a new connection (n,); and the tries.
        Each are in one order however they came in.
        """
        tries = _by_pair(self._tries.pop(epoch, ()))
        return self._in_order(self._flows.pop(epoch, []), at_once), tries

    def _in_order(
        self, parts: list[tuple[Flows, np.ndarray, np.ndarray]], at_once: int
    ) -> Iterator[tuple[Flows, np.ndarray]]:
        if not parts:
            return
        numbers = {
            name: np.concatenate([getattr(flows, name)[rows] for flows, rows, _ in parts])
            for name in ("ts", "log_odds", "kinds", "likeness", "orig_bytes", "resp_bytes")
        }
        new = np.concatenate([new for *_, new in parts])
        part = np.repeat(np.arange(len(parts)), [len(rows) for _, rows, _ in parts])
        row = np.concatenate([rows for _, rows, _ in parts])
        # What is alike in all of these is alike in what is added up.
        order = np.lexsort([numbers[name] for name in ("resp_bytes", "orig_bytes", "log_odds", "ts")])
        for start in range(0, len(order), at_once):
            chosen = order[start : start + at_once]
            of = [
                (parts[each][0], place) for each, place in zip(part[chosen].tolist(), row[chosen].tolist(), strict=True)
            ]
            has_ends = np.array([bool(flows.orig[place]) and bool(flows.resp[place]) for flows, place in of], bool)
            if not has_ends.all():
                self.without_ends += int(np.count_nonzero(~has_ends))
                of = [each for each, has in zip(of, has_ends.tolist(), strict=True) if has]
                chosen = chosen[has_ends]
            if of:
                yield (
                    Flows(
                        orig=[flows.orig[place] for flows, place in of],
                        resp=[flows.resp[place] for flows, place in of],
                        resp_p=[flows.resp_p[place] for flows, place in of],
                        uid=[flows.uid[place] for flows, place in of],
                        window=(),
                        **{name: values[chosen] for name, values in numbers.items()},
                    ),
                    new[chosen],
                )

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
