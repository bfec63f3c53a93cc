"""Timers that go off late: Zeek runs 300 with a packet at most, so that after a pause some wait for later packets.

How many are due is not known exactly, as that would take following every connection; it is counted from when the
connections begin, end and are closed, and only where a capture pauses.
"""

from __future__ import annotations

import numpy as np

from . import sessions

#: ``max_timer_expires``.
AT_ONCE = 300
#: Timers of Zeek's own (of its scripts' tables), all due every ten seconds from the first packet on.
OWN, OWN_PERIOD = 31, 10_000_000
#: No shorter pause is looked at.
SHORTEST = 10_000


class Lag:
    """Where timers go off late.

    Attributes:
        late: by the record that comes after a pause, the times at which timers are due in it, in order.
    """

    def __init__(self) -> None:
        self.late: dict[int, np.ndarray] = {}

    def records(self) -> np.ndarray:
        """Records before which a timer may not yet have gone off that is due: int64, ascending."""
        spans = [np.arange(at, at + len(due) // AT_ONCE + 1) for at, due in self.late.items()]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *spans]))

    def of(self, record: int, due: int) -> int:
        """How many packets later than at `record` a timer goes off."""
        waiting = self.late.get(record)
        return 0 if waiting is None else int(np.searchsorted(waiting, due)) // AT_ONCE


def possible(clock: np.ndarray, begin: np.ndarray, last: np.ndarray, is_open: np.ndarray) -> bool:
    """Whether it is worth the while to look: of what one connection has, no more timers than these are due in a pause.

    Args:
        clock: int64, network time at each record, µs.
        begin, last: int64 ``(n,)``, when each connection begins and has its last packet, µs.
        is_open: bool ``(n,)``, TCP connections that are never closed.
    """
    longest = int(np.diff(clock).max(initial=0))
    if longest < SHORTEST or len(begin) < (AT_ONCE - OWN) // 4:
        return False

    def most(times: np.ndarray) -> int:
        """The most of them within one pause."""
        times = np.sort(times)
        return int((np.searchsorted(times, times + longest, "right") - np.arange(len(times))).max(initial=0))

    staying = np.count_nonzero(is_open) * min(longest / sessions.TCP_SESSION_TIMER, 1)
    return bool(2 * most(begin) + most(last) + staying + OWN > AT_ONCE)


def find(
    clock: np.ndarray,
    begin: np.ndarray,
    last: np.ndarray,
    tcp: np.ndarray,
    dns: np.ndarray,
    answered: np.ndarray,
    closed: np.ndarray,
) -> Lag:
    """Find where more timers are due at once than Zeek runs.

    Args:
        clock: int64, network time at each record, µs.
        begin, last: int64 ``(n,)``, when each connection begins and has its last packet, µs.
        tcp, dns, answered: bool ``(n,)``.
        closed: int64 ``(n,)``, when each TCP connection is closed, or a time after all.
    """
    lag = Lag()
    pauses = np.flatnonzero(np.diff(clock) >= SHORTEST) + 1
    if len(begin) < (AT_ONCE - OWN) // 3 or not len(pauses):
        return lag
    is_open = tcp & answered & (closed > last)
    # Once, or for the last time, due.
    lone = np.concatenate(
        [
            np.where(answered, closed + sessions.TCP_CLOSE_DELAY, begin + sessions.TCP_ATTEMPT_DELAY)[tcp & ~is_open],
            (begin + sessions.TCP_ATTEMPT_DELAY)[is_open],
            (begin + sessions.DNS_SESSION_TIMEOUT)[dns],
            (last + sessions.UDP_INACTIVITY_TIMEOUT)[~tcp & ~dns],
        ]
    )
    lone.sort()
    # Connections that stay have a timer every few seconds.
    first, end = np.sort(begin[is_open]), np.sort(last[is_open] + sessions.TCP_INACTIVITY_TIMEOUT)
    a, b = clock[pauses - 1], clock[pauses]
    staying = np.searchsorted(first, a, "right") - np.searchsorted(end, a)
    share = np.minimum((b - a) / sessions.TCP_SESSION_TIMER, 1)
    due = np.searchsorted(lone, b, "right") - np.searchsorted(lone, a, "right") + staying * share + OWN
    for at in pauses[due > AT_ONCE].tolist():
        begun, now = int(clock[at - 1]), int(clock[at])
        such = begin[is_open & (begin <= begun) & (last + sessions.TCP_INACTIVITY_TIMEOUT >= begun)]
        waiting = np.concatenate(
            [
                lone[np.searchsorted(lone, begun, "right") : np.searchsorted(lone, now, "right")],
                _next(such + sessions.TCP_SYN_TIMEOUT, sessions.TCP_SESSION_TIMER, begun),
                np.repeat(_next(clock[:1], OWN_PERIOD, begun), OWN),
            ]
        )
        waiting = np.sort(waiting[waiting <= now])
        if len(waiting) > AT_ONCE:
            lag.late[at] = waiting
    return lag


def _next(begin: np.ndarray, period: int, after: int) -> np.ndarray:
    """When what comes every so often from `begin` on comes next after a time."""
    found: np.ndarray = begin + np.maximum((after - begin) // period + 1, 0) * period
    return found
