"""The packets of the most suspicious windows of captures, to be drawn."""

from __future__ import annotations

import heapq
from collections.abc import Collection

from ..record import Batch

#: Most windows whose packets are kept: with them the page grows by some hundred bytes each.
MOST = 2_000
#: Sizes and times (bytes, µs) of a window's packets.
Packets = tuple[list[int], list[int]]


class Shapes:
    """Packets of windows, of the ``most`` with the highest malicious scores.

    Attributes:
        left_out: windows with a verdict that were less suspicious.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        #: By score, the lowest first; then by when they came, the latest first.
        self._kept: list[tuple[float, int, str, int, Packets]] = []
        self._seen = 0

    @property
    def left_out(self) -> int:
        return self._seen - len(self._kept)

    def put(self, batch: Batch) -> None:
        """Windows as ``mmtt classify`` has them."""
        series, scores = batch.series, batch.verdicts.malicious_score.tolist()
        for at, score in enumerate(scores):
            self._seen += 1
            if len(self._kept) == self._most and score <= self._kept[0][0]:
                continue
            n = int(series.lengths[at])
            packets = series.sizes[at, :n].tolist(), series.times[at, :n].tolist()
            entry = score, -self._seen, batch.uid[at], batch.window[at], packets
            if len(self._kept) < self._most:
                heapq.heappush(self._kept, entry)
            else:
                heapq.heapreplace(self._kept, entry)

    def of(self, uids: Collection[str]) -> dict[str, dict[int, Packets]]:
        """By connection and window, those of some connections."""
        found: dict[str, dict[int, Packets]] = {}
        for _, _, uid, window, packets in self._kept:
            if uid in uids:
                found.setdefault(uid, {})[window] = packets
        return found
