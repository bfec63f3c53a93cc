"""Network time as it was, for timers that are looked at after they have gone off."""

from __future__ import annotations

import bisect

import numpy as np

from .lag import Lag
from .sessions import Clock

#: So many times are remembered; of more, every other one of the older half is forgotten.
_MOST = 1 << 20


class LiveClock(Clock):
    """Network time at each packet so far; of long ago, at some of them."""

    def __init__(self) -> None:
        super().__init__([], Lag())
        self._parts: list[np.ndarray] = []
        self._ends: list[int] = []
        self._size = 0

    def add(self, times: np.ndarray) -> None:
        """Times of further packets, µs, ascending."""
        if not len(times):
            return
        self._parts.append(times)
        self._ends.append(int(times[-1]))
        self._size += len(times)
        if self._size > _MOST or len(self._parts) > 1 << 12:
            half = len(self._parts) // 2 + 1
            older = np.concatenate(self._parts[:half])
            if self._size > _MOST:
                older = older[::-1][::2][::-1].copy()
            self._parts[:half], self._ends[:half] = [older], [int(older[-1])]
            self._size = sum(map(len, self._parts))

    def forget(self) -> None:
        self._parts, self._ends, self._size = [], [], 0

    def goes_off(self, due: int) -> tuple[int, int]:
        part = bisect.bisect_left(self._ends, due)
        if part == len(self._parts):
            return 0, due
        times = self._parts[part]
        return 0, int(times[times.searchsorted(due)])
