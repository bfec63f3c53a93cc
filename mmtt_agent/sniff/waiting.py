"""Windows that wait for the model: as many as are allowed, the others are shed."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition

import numpy as np

from ..capture import Connections, Windows
from ..series import MIN_PACKETS

#: While somebody waits for room, so many windows keep the model busy.
_ENOUGH = 1024
#: Windows that can't even be told of, as so many more than may wait for the model are shed or too short already, go
#: without a row: so many times over.
_UNTOLD = 4


@dataclass(slots=True)
class Batch:
    """What was found at one time.

    Attributes:
        connections: of the windows, and those that came to nothing.
        windows: those of the batch.
        run: int64, rows of the windows that are to be run.
        short, shed: int64, of those that have too few packets, and those that there is no room for.
        found: by the machine's monotonic clock.
    """

    connections: Connections
    windows: Windows
    run: np.ndarray
    short: np.ndarray
    shed: np.ndarray
    found: float


class Waiting:
    """Between the thread that takes packets, which never waits here, and the one that runs the model.

    Args:
        most: windows that may wait to be run.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: deque[Batch] = deque()
        self._to_run = self._to_tell = 0
        self._changed = Condition()
        self._over = False
        #: Windows: ``received`` with enough packets for a verdict, ``lost`` of which nobody will hear.
        self.counts: Counter[str] = Counter()

    def put(self, connections: Connections, windows: Windows, until: float | None = None) -> None:
        """
        Args:
            until: wait for room so long, by the machine's monotonic clock, rather than shed; None: not at all.
        """
        enough = windows.series.lengths >= MIN_PACKETS
        run, short = np.flatnonzero(enough), np.flatnonzero(~enough)
        with self._changed:
            if until is not None:
                self._changed.wait_for(lambda: self._to_run < _ENOUGH, max(0.0, until - time.monotonic()))
            most = self._most if until is None else _ENOUGH + len(run)
            room = max(0, most - self._to_run)
            run, shed = run[:room], run[room:]
            self.counts["received"] += len(run) + len(shed)
            if self._to_tell + len(short) + len(shed) > _UNTOLD * self._most and until is None:
                self.counts["lost"] += len(short) + len(shed)
                short, shed = short[:0], shed[:0]
            self._to_run += len(run)
            self._to_tell += len(short) + len(shed)
            self._batches.append(Batch(connections, windows, run, short, shed, time.monotonic()))
            self._changed.notify_all()

    def end(self) -> None:
        """There will be no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def take(self, most: int, linger: float, timeout: float) -> list[Batch] | None:
        """The next batches, oldest first: together about ``most`` windows to be run, or what has come ``linger``
        seconds after the first of them; none after ``timeout`` seconds without one; None in the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._batches or self._over, timeout)
            if not self._batches:
                return None if self._over else []
            left = self._batches[0].found + linger - time.monotonic()
            if left > 0:
                self._changed.wait_for(lambda: self._to_run >= most or self._over, left)
            return [*self._next(most)]

    def _next(self, most: int) -> Iterator[Batch]:
        rows = 0
        while self._batches and (rows == 0 or rows + len(self._batches[0].run) <= most):
            batch = self._batches.popleft()
            rows += len(batch.run)
            self._to_tell -= len(batch.short) + len(batch.shed)
            yield batch

    def done(self, windows: int) -> None:
        """So many of those that were taken to be run have been."""
        with self._changed:
            self._to_run -= windows
            self._changed.notify_all()

    @property
    def to_run(self) -> int:
        """Windows that wait to be run, or are being run."""
        return self._to_run
