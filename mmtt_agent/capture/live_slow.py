"""Live connections that are followed packet by packet."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from . import live_slots as bits
from .live_clock import LiveClock
from .live_past import Past
from .live_slots import NEVER, Slots
from .sessions import ANSWERING_PORTS, INTERACTIVE_PORTS, Packet
from .tcp_sessions import TcpConnection
from .udp_sessions import UdpConnection


@dataclass(slots=True)
class Cuts:
    """What became of packets: lists with an element for each.

    Attributes:
        slots: the connection's slot; of a pair's last packet, the one that is followed further.
        from_orig: it was from the originator, as was known then.
        as_low: it is counted for the lower endpoint.
    """

    slots: list[int] = field(default_factory=list)
    from_orig: list[bool] = field(default_factory=list)
    as_low: list[bool] = field(default_factory=list)


class Slow:
    """The connections.

    Attributes:
        ended: slots of those that are over.
        failed: slots of those that came to nothing; both since they were last looked at.
    """

    def __init__(self, slots: Slots, past: Past, clock: LiveClock) -> None:
        self._slots, self._past, self._clock = slots, past, clock
        self._connections: dict[int, TcpConnection | UdpConnection] = {}
        # As they were when it was no longer needed to follow them.
        self._left: dict[int, TcpConnection | UdpConnection] = {}
        # When which connection's timers are to be looked at; a connection may have several entries, and one that is
        # over may still have some.
        self._due: list[tuple[int, int, int]] = []
        self._looked_at: dict[int, int] = {}
        self.ended: list[int] = []
        self.failed: list[int] = []

    def __len__(self) -> int:
        return len(self._connections)

    def begin(self, slot: int) -> None:
        """Follow a connection packet by packet from now on, if it isn't already."""
        if slot in self._connections:
            return
        connection = self._left.pop(slot, None)
        self._slots.was_slow[slot] = False
        expected = 0
        ports = self._ports(slot)
        for number, packet in self._past.of(slot):
            if connection is None or connection.over(0, packet.now, self._clock):
                connection = self._of(slot)(packet, ports)
            elif number != expected:
                # Not all of a long connection's packets are kept. What can differ: whether a repeated SYN is known
                # again, and whether data is missing.
                connection.resume(packet)
            connection.take(packet)
            expected = number + 1
        if connection is not None:
            self._slots.newest[slot] = -1
            self._slots.slow[slot] = True
            self._connections[slot] = connection
            self._look_later(slot, connection)

    def leave(self, slot: int) -> None:
        """No longer follow a connection packet by packet, if nothing about it needs that any more."""
        connection, slots, ports = self._connections[slot], self._slots, self._ports(slot)
        if not connection.settled:
            return
        seen = bits.MIDSTREAM
        if isinstance(connection, TcpConnection):
            seen |= bits.INTERACTIVE * bool(INTERACTIVE_PORTS & set(ports)) | bits.SSH * connection.may_be_ssh
            for end, peer in ((connection.orig, connection.resp), (connection.resp, connection.orig)):
                seen |= (bits.SENT | bits.DATA) << (0 if end.low else bits.HIGH)
                seen |= bits.DISORDER * end.lacks_data(peer)
                slots.after[slot, int(end.low)], slots.ack[slot, int(peer.low)] = end.last, end.acknowledged
        elif ANSWERING_PORTS & set(ports):
            return
        slots.seen[slot] = seen
        slots.closing[slot] = NEVER
        slots.answered[slot] = slots.synack[slot] = slots.begin[slot]
        slots.packets[slot], slots.newest[slot] = 0, -1
        slots.slow[slot], slots.was_slow[slot] = False, True
        self.forget(slot)
        self._left[slot] = connection

    def _of(self, slot: int) -> type[TcpConnection] | type[UdpConnection]:
        return TcpConnection if self._slots.tcp[slot] else UdpConnection

    def _ports(self, slot: int) -> tuple[int, int]:
        port = int(self._slots.port[slot])
        return port >> 16 & 0xFFFF, port & 0xFFFF

    def follow(self, slot: int, packets: list[Packet], cuts: Cuts) -> None:
        """Follow a pair's packets.

        Args:
            slot: the connection's so far, or an unused one's.
            cuts: what becomes of them is added.
        """
        slots = self._slots
        kind, ports = self._of(slot), self._ports(slot)
        connection = self._connections.get(slot)
        begun = len(cuts.slots)

        for packet in packets:
            if connection is not None and (
                connection.over(0, packet.now, self._clock)
                or (isinstance(connection, TcpConnection) and connection.is_reuse(packet))
            ):
                self._note(slot, connection)
                self._sign(slot, connection, cuts, begun)
                self.end(slot)
                slot, begun, connection = slots.make_another(slot), len(cuts.slots), None
            if connection is None:
                connection = self._connections[slot] = kind(packet, ports)
                slots.slow[slot] = True
                slots.begin[slot] = packet.time
                slots.low_is_orig[slot] = connection.low_is_orig
            was = connection.low_is_orig
            turned = connection.take(packet)
            cuts.slots.append(slot)
            cuts.from_orig.append(packet.low == was)
            # Zeek counts the datagram that made it turn a connection round for the side that it had taken its sender
            # for.
            cuts.as_low.append(packet.low ^ bool(turned))
            if turned:
                slots.low_is_orig[slot] = connection.low_is_orig
        if connection is not None:
            slots.last[slot] = packets[-1].time
            self._note(slot, connection)
            self._sign(slot, connection, cuts, begun)
            self._look_later(slot, connection)

    def _sign(self, slot: int, connection: TcpConnection | UdpConnection, cuts: Cuts, begun: int) -> None:
        """A TCP connection that is turned round is so with all of its packets: those from `begun` on, and those that
        wait in its window."""
        slots, low_is_orig = self._slots, connection.low_is_orig
        if isinstance(connection, TcpConnection) and low_is_orig != slots.low_is_orig[slot]:
            slots.low_is_orig[slot] = low_is_orig
            cuts.from_orig[begun:] = [low == low_is_orig for low in cuts.as_low[begun:]]
            if slots.open[slot]:
                slots.sizes[slot] *= -1

    def _note(self, slot: int, connection: TcpConnection | UdpConnection) -> None:
        if isinstance(connection, TcpConnection) and connection.failed and not self._slots.failed[slot]:
            self._slots.failed[slot] = True
            self.failed.append(slot)

    def end(self, slot: int) -> None:
        """A connection is over; its slot is still to be freed."""
        self.forget(slot)
        self.ended.append(slot)

    def forget(self, slot: int) -> None:
        """Follow a connection no more."""
        self._connections.pop(slot, None)
        self._looked_at.pop(slot, None)
        self._left.pop(slot, None)

    def _look_later(self, slot: int, connection: TcpConnection | UdpConnection) -> None:
        due = connection.due()
        if due < self._looked_at.get(slot, 1 << 63):
            self._looked_at[slot] = due
            heapq.heappush(self._due, (due, slot, int(self._slots.serial[slot])))

    def advance(self, now: int) -> None:
        """Let the timers go off that are due."""
        heap, slots = self._due, self._slots
        while heap and heap[0][0] <= now:
            due, slot, serial = heapq.heappop(heap)
            connection = self._connections.get(slot)
            if connection is None or slots.serial[slot] != serial or self._looked_at.get(slot) != due:
                continue
            del self._looked_at[slot]
            over = connection.over(0, now, self._clock)
            self._note(slot, connection)
            if over:
                self.end(slot)
            else:
                self._look_later(slot, connection)
