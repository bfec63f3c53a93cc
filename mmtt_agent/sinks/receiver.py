"""Lines for who may be away, or slow: they wait, so many of them, and a thread hands them over."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

#: Bytes that wait at most.
MOST = 32 << 20
#: Seconds without any progress after which a receiver is not waited for.
PATIENCE = 2.0
# Bytes that are handed over at once.
_BATCH = 1 << 18
# Seconds until the next try to reach who is away: the first, and at most.
_SOON, _LATE = 0.05, 2.0
# Seconds between two looks at whether there is still time.
_LOOK = 0.5
# Seconds that it may take to end.
_GRACE = 1.0


class Away(Exception):
    """The receiver can't be reached, or takes nothing: why, in one line."""


class Stuck(Away):
    """It takes nothing."""


class Receiver(ABC):
    """As :class:`.sink.Sink`.

    While the receiver takes lines the caller waits for it when too many are under way. One that is away, or has taken
    none for as long as ``patience``, is not waited for: then the oldest lines make room, and are counted.

    Args:
        name: of the receiver, for :attr:`problem`.
        patience: seconds.
        most: bytes that wait.
    """

    def __init__(self, name: str, patience: float = PATIENCE, most: int = MOST) -> None:
        self.dropped, self.problem = 0, ""
        self._name, self._patience, self._most = name, patience, most
        self._stuck = f"has taken nothing for {patience:g} seconds"
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._in_hand = 0
        self._away = self._closing = False
        self._moved = time.monotonic()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _connect(self) -> None:
        """Reach the receiver.

        Raises:
            Away: it can't be.
        """

    @abstractmethod
    def _hand_over(self, lines: deque[bytes]) -> None:
        """Hand lines over, and take from the left what is; call :meth:`_progress` now and then.

        Raises:
            Away: not all could be. What is left is handed over again once it is back.
        """

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go of it, in whatever state."""

    def write(self, lines: bytes) -> None:
        if not lines:
            return
        with self._changed:
            if self._closing:
                raise ValueError("written to after it was closed")
            if self._thread is None:
                # Not before: a process that was forked meanwhile would have none.
                self._moved = time.monotonic()
                self._thread = threading.Thread(target=self._run, name=f"to {self._name}", daemon=True)
                self._thread.start()
            if not self._waiting and not self._in_hand and not self._away:
                self._moved = time.monotonic()  # it had nothing to take
            if self._size + len(lines) > self._most:
                self._wait(lambda: self._size + len(lines) <= self._most)
                while self._waiting and self._size + len(lines) > self._most:
                    oldest = self._waiting.popleft()
                    self._size -= len(oldest)
                    self.dropped += oldest.count(b"\n")
            self._waiting.append(lines)
            self._size += len(lines)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is handed over, or the receiver is not waited for."""
        with self._changed:
            self._wait(lambda: not self._waiting and not self._in_hand)

    def reopen(self) -> None:  # noqa: B027  # a receiver is not rotated
        pass

    def hurry(self, seconds: float) -> None:
        self._patience = min(self._patience, seconds / 2)  # once for what waits, once to close

    def close(self) -> None:
        if self._thread is None:
            return
        with self._changed:
            self._closing = True
            self._moved = time.monotonic()
            self._changed.notify_all()
        # It ends when all is handed over, or nothing more can be.
        while self._thread.is_alive() and (left := self._left() + _GRACE) > 0:
            self._thread.join(left)
        with self._changed:
            self.dropped += self._in_hand + sum(lines.count(b"\n") for lines in self._waiting)
            self._waiting.clear()
            self._in_hand = 0

    def _progress(self) -> None:
        """The receiver has taken something."""
        with self._changed:
            self._moved = time.monotonic()
            self._changed.notify_all()

    def _stalled(self) -> None:
        """The receiver takes nothing just now.

        Raises:
            Stuck: that has lasted for too long, and there is no time for more.
        """
        with self._changed:
            if self._closing and self._left() <= 0:
                raise Stuck(self._stuck)

    def _lost(self, lines: int, why: str) -> None:
        """Lines that can't be handed over to anybody."""
        with self._changed:
            self.dropped += lines
            self.problem = f"{self._name}: {why}"

    def _wait(self, until: Callable[[], bool]) -> None:
        """Until so, or the receiver is not waited for."""
        while not until() and not self._away:
            if (left := self._left()) <= 0:
                self.problem = f"{self._name}: {self._stuck}"
                return
            self._changed.wait(min(left, _LOOK))  # there may be less time meanwhile

    def _left(self) -> float:
        """Seconds until patience is at its end."""
        return self._moved + self._patience - time.monotonic()

    def _run(self) -> None:
        connected, wait, last = False, _SOON, False
        lines: deque[bytes] = deque()
        try:
            while lines or self._take(lines):
                try:
                    if not connected:
                        self._connect()
                        connected, wait = True, _SOON
                        with self._changed:
                            self._away, self._moved = False, time.monotonic()
                    self._hand_over(lines)
                except Away as error:
                    self._disconnect()
                    with self._changed:
                        self._away, self.problem = True, f"{self._name}: {error}"
                        self._in_hand = _count(lines)
                        self._changed.notify_all()
                        if self._closing and (last or not connected or isinstance(error, Stuck)):
                            return
                        # One that is lost in the end is tried once more.
                        connected, last = False, self._closing
                        self._changed.wait_for(lambda: self._closing, wait)
                    wait = min(wait * 2, _LATE)
        finally:
            self._disconnect()

    def _take(self, lines: deque[bytes]) -> bool:
        """What waits; False: there will be nothing more."""
        with self._changed:
            self._in_hand = 0
            self._changed.notify_all()
            if not self._waiting:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing)
                self._moved = time.monotonic()
            size = 0
            while self._waiting and size < _BATCH:
                size += len(self._waiting[0])
                lines.append(self._waiting.popleft())
            self._size -= size
            self._in_hand = _count(lines)
        return bool(lines)


def _count(lines: deque[bytes]) -> int:
    return sum(each.count(b"\n") for each in lines)
