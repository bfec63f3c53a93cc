"""How Zeek cuts UDP connections, packet by packet."""

from __future__ import annotations

from .segments import ALIVE, ANSWER, MESSAGE, REQUEST, TO_MANY, VIOLATION
from .sessions import (
    ANSWERING_PORTS,
    DNS_PORTS,
    DNS_SESSION_TIMEOUT,
    LIKELY_UDP_PORTS,
    UDP_INACTIVITY_TIMEOUT,
    Clock,
    Cut,
    Packet,
    Timers,
)

#: An analyzer that finds no message of its protocol is done away with, but not so late (``ignore_violations_after``).
_VIOLATIONS_UNTIL = 10 * 1024


def cut_udp(packets: list[Packet], ports: tuple[int, int], clock: Clock) -> list[Cut]:
    """Cut a pair's datagrams; ``ports`` are the lower endpoint's and the other's."""
    cuts: list[Cut] = []
    connection: UdpConnection | None = None
    for index, packet in enumerate(packets):
        if connection is None or connection.over(packet.row, packet.now, clock):
            connection = UdpConnection(packet, ports)
            cuts.append(Cut(index, connection.low_is_orig))
        cut = cuts[-1]
        if connection.take(packet):
            cut.turns.append(index)
            cut.low_is_orig = connection.low_is_orig
    return cuts


class UdpConnection:
    """One connection as Zeek follows it, as far as it bears on when it ends and who its originator is."""

    def __init__(self, packet: Packet, ports: tuple[int, int]) -> None:
        source, destination = ports if packet.low else ports[::-1]
        flip = source in LIKELY_UDP_PORTS and destination not in LIKELY_UDP_PORTS and not packet.state & TO_MANY
        self.low_is_orig = packet.low != flip
        responder = source if flip else destination
        self._last = packet.time
        self._timers = Timers(packet.now)
        self._timers.set("inactivity", packet.time + UDP_INACTIVITY_TIMEOUT)
        #: The analyzer of the responder's port, if it is one that ends connections or turns them round.
        self._dns, self._ntp = responder in DNS_PORTS, responder in ANSWERING_PORTS - DNS_PORTS
        if self._dns:
            self._timers.set("dns", packet.now + DNS_SESSION_TIMEOUT)
        self._removing = False
        self._begun = False
        self._turned = [False, False]
        self._bytes = 0

    @property
    def settled(self) -> bool:
        """Whether nothing but a pause can bear on it any more."""
        return not (self._dns or self._ntp)

    def due(self) -> int:
        """When its next timer is due."""
        return self._timers.due()

    def over(self, row: int, now: int, clock: Clock) -> bool:
        """Whether the connection is over before a packet of the capture: its record, and network time then."""
        return self._timers.run(row, now, clock, self._fire)

    def _fire(self, name: str, now: int) -> bool:
        quiet = now - self._last
        if name == "inactivity":
            if quiet >= UDP_INACTIVITY_TIMEOUT:
                return True
            self._timers.set(name, self._last + UDP_INACTIVITY_TIMEOUT)
        else:
            if quiet >= DNS_SESSION_TIMEOUT - 1_000_000:
                return True
            self._timers.set(name, now + DNS_SESSION_TIMEOUT)
        return False

    def resume(self, packet: Packet) -> None:
        """Go on at a packet before which others are not known."""
        self._last = packet.time

    def take(self, packet: Packet) -> bool:
        """Follow the connection through a packet; whether this turns it round."""
        if not packet.state & ALIVE:
            return False
        self._last = packet.time
        self._bytes += packet.payload
        if self._removing:
            # What is to go goes with the next packet, and its timer with it.
            self._removing = self._dns = self._ntp = False
            self._timers.cancel("dns")
        from_orig = packet.low == self.low_is_orig
        turn = False
        if packet.state & MESSAGE:
            if self._dns:
                # Multicast DNS answers to a group are not marked as answers.
                turn = not self._begun and from_orig and packet.state & ANSWER != 0
                self._begun = True
            elif self._ntp and packet.state & (ANSWER if from_orig else REQUEST):
                turn = not self._turned[from_orig]
                self._turned[from_orig] = True
        if packet.state & VIOLATION and (self._dns or self._ntp):
            self._removing = self._bytes <= _VIOLATIONS_UNTIL
        if turn:
            self.low_is_orig = not self.low_is_orig
        return turn
