"""How Zeek cuts one pair of endpoints' packets into connections, packet by packet: what TCP and UDP share.

Most pairs of endpoints need none of this (``connections`` tells which do): only those on which a timer may have ended
a connection between two packets, that were used again, or whose first packet was not a plain SYN.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lag import Lag

# Zeek's defaults, in microseconds; named as there.
UDP_INACTIVITY_TIMEOUT = 60_000_000
TCP_INACTIVITY_TIMEOUT = 300_000_000
#: For FTP, SSH, telnet and rlogin (``Conn::port_inactivity_timeouts``).
PORT_INACTIVITY_TIMEOUT = 3_600_000_000
INTERACTIVE_PORTS = frozenset({21, 22, 23, 513})
TCP_SYN_TIMEOUT = 5_000_000
TCP_SESSION_TIMER = 6_000_000
TCP_CONNECTION_LINGER = 5_000_000
TCP_ATTEMPT_DELAY = 5_000_000
TCP_CLOSE_DELAY = 5_000_000
#: SSH at whatever port is given that time once its keys are exchanged, for which each side needs so many packets.
SSH_PACKETS = 3
DNS_SESSION_TIMEOUT = 10_000_000
#: UDP ports of DNS and its relatives, whose connections end sooner.
DNS_PORTS = frozenset({53, 137, 5353, 5355})
ANSWERING_PORTS = DNS_PORTS | {123}

#: ``likely_server_ports`` of a Zeek with its default scripts.
LIKELY_TCP_PORTS = frozenset(
    (21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 443, 445, 465, 502, 563, 585, 587, 614, 631, 636, 989, 990, 992,
     993, 995, 1080, 1434, 1883, 2811, 3128, 3306, 3389, 5222, 5223, 5269, 6666, 6667, 6668, 6669, 8000, 8080, 8888,
     20000)
)  # fmt: skip
LIKELY_UDP_PORTS = frozenset(
    (53, 67, 88, 123, 137, 161, 162, 443, 514, 1812, 2123, 2152, 3389, 3544, 4011, 4754, 4789, 5060, 5072, 5353, 5355,
     6081, 20000)
)  # fmt: skip


@dataclass(slots=True)
class Packet:
    """A packet of the pair: its record's number, time and network time (which never goes back) in µs, whether the lower
    endpoint sent it, TCP fields, payload bytes, state bits."""

    row: int
    time: int
    now: int
    low: bool
    flags: int
    seq: int
    ack: int
    payload: int
    state: int


@dataclass(slots=True)
class Cut:
    """A connection.

    Attributes:
        first: its first packet's index in the pair's.
        low_is_orig: the lower endpoint is the originator (in the end, if the connection is turned round).
        turns: indices of the packets that turned it round, on which Zeek goes on as though they had not.
        failed: TCP: it was not answered, or refused.
    """

    first: int
    low_is_orig: bool
    turns: list[int] = field(default_factory=list)
    failed: bool = False


class Clock:
    """Network time at each of the capture's packets: when a timer that is due goes off."""

    def __init__(self, times: list[int], lag: Lag) -> None:
        self._times = times
        self._lag = lag

    def goes_off(self, due: int) -> tuple[int, int]:
        """Before which packet a timer goes off, and the network time then; a packet at or after `due` must exist."""
        first = bisect.bisect_left(self._times, due)
        late = self._lag.of(first, due)
        # What is late goes off after the packet before.
        return first + late, self._times[min(max(first, first + late - 1), len(self._times) - 1)]

    @property
    def end(self) -> tuple[int, int]:
        """The capture's last record: its number, and network time then."""
        return len(self._times) - 1, self._times[-1]


class Timers:
    """A connection's timers. Zeek runs those that are due when it takes the next packet of the capture, before it looks
    at that.

    Attributes:
        now: network time when a timer was last set.
    """

    def __init__(self, now: int) -> None:
        self.now = now
        self._due: list[tuple[int, str]] = []

    def set(self, name: str, due: int) -> None:
        self._due.append((due, name))

    def cancel(self, *names: str) -> None:
        self._due = [timer for timer in self._due if timer[1] not in names]

    def due(self) -> int:
        """When the next is due, or a time after all."""
        return min(self._due)[0] if self._due else 1 << 62

    def run(self, row: int, now: int, clock: Clock, fire: Callable[[str, int], bool]) -> bool:
        """Run the timers that go off before a packet of the capture, until one of them ends the connection.

        Args:
            row: the packet's record.
            now: network time then.
            fire: called with a timer's name and the time at which it goes off; whether this ends the connection.

        Returns:
            Whether one of them did.
        """
        while self._due:
            timer = min(self._due)
            due, name = timer
            if due > now:
                break
            before, then = clock.goes_off(due)
            if before > row:
                break
            self._due.remove(timer)
            # One that was due when it was set goes off at once.
            self.now = max(then, self.now)
            if fire(name, self.now):
                return True
        self.now = now
        return False
