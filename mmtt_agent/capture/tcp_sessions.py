"""How Zeek cuts TCP connections, packet by packet: its states and its timers."""

from __future__ import annotations

from .segments import ACK, BAD_CHECKSUM, FIN, RST, SSH_BANNER, STATELESS, SYN, WHOLE, ZERO_WINDOW
from .sessions import (
    INTERACTIVE_PORTS,
    LIKELY_TCP_PORTS,
    PORT_INACTIVITY_TIMEOUT,
    SSH_PACKETS,
    TCP_ATTEMPT_DELAY,
    TCP_CLOSE_DELAY,
    TCP_CONNECTION_LINGER,
    TCP_INACTIVITY_TIMEOUT,
    TCP_SESSION_TIMER,
    TCP_SYN_TIMEOUT,
    UDP_INACTIVITY_TIMEOUT,
    Clock,
    Cut,
    Packet,
    Timers,
)
from .stream import (
    CLOSED,
    ESTABLISHED,
    INACTIVE,
    PARTIAL,
    RESET,
    SYN_ACK_SENT,
    SYN_SENT,
    TOO_LARGE_SEQ_DELTA,
    Endpoint,
    difference,
)

_HANDSHAKE = (INACTIVE, SYN_SENT, SYN_ACK_SENT)
_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
# Of whom a packet has been looked into (Zeek's ``first_packet_seen``).
_ORIG, _RESP = 1, 2


def cut_tcp(packets: list[Packet], ports: tuple[int, int], clock: Clock) -> list[Cut]:
    """Cut a pair's segments; ``ports`` are the lower endpoint's and the other's."""
    made: list[tuple[int, TcpConnection]] = []
    connection: TcpConnection | None = None
    for index, packet in enumerate(packets):
        if connection is None or connection.over(packet.row, packet.now, clock) or connection.is_reuse(packet):
            connection = TcpConnection(packet, ports)
            made.append((index, connection))
        connection.take(packet)
    if connection is not None:
        # One that nobody has answered is told of when the capture goes on for long enough, with whatever packets.
        connection.over(*clock.end, clock)
    return [Cut(index, each.orig.low, failed=each.failed) for index, each in made]


def _flipped(flags: int, source: int, destination: int) -> bool:
    """Whether the first packet's sender is taken for the responder."""
    if flags & SYN and not flags & ACK:
        return False
    if source not in LIKELY_TCP_PORTS:
        return False
    return destination not in LIKELY_TCP_PORTS or (not flags & SYN and source < destination)


class TcpConnection:
    """One connection as Zeek follows it, as far as it bears on when it ends, who its originator is and whether it came
    to anything.

    Attributes:
        orig, resp: the two sides.
        failed: Zeek has raised ``connection_attempt`` or ``connection_rejected``: nobody answered, or with a RST.
    """

    def __init__(self, packet: Packet, ports: tuple[int, int]) -> None:
        source, destination = ports if packet.low else ports[::-1]
        self._ports = ports
        self.failed = False
        flip = _flipped(packet.flags, source, destination)
        self.orig = Endpoint(packet.low != flip)
        self.resp = Endpoint(not self.orig.low)
        self._last = packet.time
        self._timers = Timers(packet.now)
        # Until one side is past its handshake, TCP is given no more time than UDP.
        self._inactivity = UDP_INACTIVITY_TIMEOUT
        self._timers.set("inactivity", self._last + self._inactivity)
        self._timers.set("expire", packet.now + TCP_SYN_TIMEOUT)
        self._active = True
        # As far as it matters: "H" is a SYN-ACK from the originator and nothing else.
        self._history = "other" if flip else ""
        self._seen = 0
        self._partial = False
        # A close that waits for data, and whether it is to end all activity.
        self._deferred = self._deferred_ends = False
        # Packets with payload of each side from its SSH banner on.
        self._ssh = {True: 0, False: 0}

    @property
    def low_is_orig(self) -> bool:
        return self.orig.low

    @property
    def settled(self) -> bool:
        """Whether nothing but a SYN, an end or a long pause can bear on it any more."""
        orig, resp = self.orig, self.resp
        return {orig.state, resp.state} <= {ESTABLISHED, PARTIAL} and not (orig.fins or resp.fins or self._deferred)

    @property
    def may_be_ssh(self) -> bool:
        return any(self._ssh.values())

    # Timers

    def due(self) -> int:
        """When its next timer is due."""
        return self._timers.due()

    def over(self, row: int, now: int, clock: Clock) -> bool:
        """Whether the connection is over before a packet of the capture: its record, and network time then."""
        return self._timers.run(row, now, clock, self._fire)

    def _fire(self, name: str, now: int) -> bool:
        if name == "inactivity":
            if self._last + self._inactivity <= now:
                return True
            self._timers.set(name, self._last + self._inactivity)
        elif name == "attempt":
            unanswered = self.orig.state in (SYN_SENT, SYN_ACK_SENT) and self.resp.state == INACTIVE
            if self._active and unanswered:
                self.failed = True
                return True
        elif name == "expire":
            if self._active:
                if self._last + TCP_CONNECTION_LINGER < now and self._is_done():
                    return True
                self._timers.set(name, now + TCP_SESSION_TIMER)
        else:
            return True
        return False

    def _is_done(self) -> bool:
        """Whether a connection on which nothing has happened for a while is over."""
        closed = self.orig.did_close, self.resp.did_close
        states = self.orig.state, self.resp.state
        if any(closed) and (all(closed) or RESET in states or INACTIVE in states):
            return True
        return states == (INACTIVE, INACTIVE)

    def _allow(self, pause: int) -> None:
        """Set how long the connection may pause."""
        if pause != self._inactivity:
            self._inactivity = pause
            self._timers.cancel("inactivity")
            self._timers.set("inactivity", self._last + pause)

    # Packets

    def resume(self, packet: Packet) -> None:
        """Go on at a packet before which others are not known: as though all data of those had come, in order."""
        sender, peer = (self.orig, self.resp) if packet.low == self.orig.low else (self.resp, self.orig)
        sender.resume(packet.seq)
        if packet.flags & ACK:
            peer.resume(packet.ack)
        self._history = "other"
        self._last = packet.time

    def is_reuse(self, packet: Packet) -> bool:
        """Whether a packet begins another connection between the same endpoints."""
        if not packet.flags & SYN:
            return False
        endpoint = self.orig
        if packet.flags & ACK:
            if self.orig.state != INACTIVE:
                return False
            endpoint = self.resp
        if self.orig.did_close or self.resp.did_close:
            return True
        if packet.seq == endpoint.start:
            return False
        return (
            packet.flags & ACK != 0
            or endpoint.state != SYN_ACK_SENT
            or self.resp.state != INACTIVE
            or packet.seq != self.resp.start
        )

    def take(self, packet: Packet) -> None:
        """Follow the connection through a packet."""
        if packet.state & STATELESS:
            if packet.state & BAD_CHECKSUM:
                self._history = "other"
            return
        flags, size = packet.flags, packet.payload
        # The connection may be turned round on the way; who the packet was from then doesn't change any more.
        from_orig = packet.low == self.orig.low
        endpoint, peer = (self.orig, self.resp) if from_orig else (self.resp, self.orig)
        syn, fin, rst, ack = flags & SYN != 0, flags & FIN != 0, flags & RST != 0, flags & ACK != 0
        if from_orig:
            if not self._seen & _ORIG:
                self._partial = not syn or ack
        elif not self._seen & _RESP and not self._partial:
            self._partial = not syn
        length = syn + fin + (0 if rst else size)
        after = packet.seq + length & _M32
        self._begin(endpoint, packet, syn, after)
        seq, before_start = endpoint.relative(packet.seq)
        self._note(endpoint, peer, packet)
        if not (self.orig.did_close and self.resp.did_close):
            self._last = packet.time
        if fin:
            endpoint.fins += 1
            endpoint.fin_at = seq + length & _M64
        acknowledged = 0
        if ack:
            if peer.state == INACTIVE:
                acknowledged = 1
                peer.begin(packet.ack - 1, packet.ack - 1)
            else:
                acknowledged, underflow = peer.relative_acknowledgement(packet.ack)
                if underflow:
                    acknowledged = 0
                elif not rst:
                    peer.acknowledge(packet.ack)
        self._advance_sequence(endpoint, after, syn, fin, rst, size)
        close, ends = self._advance(endpoint, peer, packet, from_orig)
        if ack and peer.received(acknowledged, endpoint, self._partial):
            self._check_end(peer, endpoint)
        self._seen |= _ORIG if from_orig else _RESP
        if size > 0 and not rst and not before_start and packet.state & WHOLE:
            endpoint.data(seq + syn, size, peer)
            self._look_for_ssh(packet)
        self._check_end(endpoint, peer)
        if close:
            self._close(endpoint, peer, ends)

    def _look_for_ssh(self, packet: Packet) -> None:
        if self._ssh[packet.low] or packet.state & SSH_BANNER:
            self._ssh[packet.low] += 1
            if min(self._ssh.values()) == SSH_PACKETS and not self._partial:
                self._allow(PORT_INACTIVITY_TIMEOUT)

    def _begin(self, endpoint: Endpoint, packet: Packet, syn: bool, after: int) -> None:
        if endpoint.state == INACTIVE:
            if syn:
                endpoint.begin(packet.seq, after)
            else:
                # As though a SYN had come before.
                endpoint.begin(packet.seq - 1, packet.seq)
        elif syn and (
            endpoint.state in (ESTABLISHED, PARTIAL)
            or (endpoint.state in (SYN_SENT, SYN_ACK_SENT) and packet.seq != endpoint.start)
            or (endpoint.state == RESET and endpoint.before == INACTIVE)
        ):
            endpoint.begin(packet.seq, after)

    def _note(self, endpoint: Endpoint, peer: Endpoint, packet: Packet) -> None:
        """Keep the history as far as it matters, and turn the connection round where that tells to."""
        flags = packet.flags
        bits = flags & (SYN | FIN | RST)
        if bits == SYN and flags & ACK and endpoint is self.orig and self._history in ("", "H"):
            self._history = "H"
        elif bits:
            self._history = "other"
        elif packet.payload or flags & ACK:
            if self._history == "H":
                # Traffic that goes on after a lone SYN-ACK: it came from the responder.
                self._turn_round()
                self._seen |= _ORIG
            self._history = "other"
        if packet.state & ZERO_WINDOW and not flags & RST and peer.state != CLOSED and endpoint.state != RESET:
            self._history = "other"

    def _turn_round(self) -> None:
        self.orig, self.resp = self.resp, self.orig
        self._seen = (self._seen & _ORIG) << 1 | (self._seen & _RESP) >> 1
        self._partial = False

    def _advance_sequence(self, endpoint: Endpoint, after: int, syn: bool, fin: bool, rst: bool, size: int) -> None:
        delta = difference(after, endpoint.last)
        if (syn or rst) and abs(delta) > TOO_LARGE_SEQ_DELTA:
            return
        if fin and endpoint.last == endpoint.start + 1 & _M32:
            endpoint.advance(after)
        elif endpoint.state != RESET:
            if delta > 0:
                endpoint.advance(after)
            elif size > 0:
                self._history = "other"

    # States

    def _set(self, endpoint: Endpoint, peer: Endpoint, state: int) -> None:
        if state == endpoint.state:
            return
        if state not in _HANDSHAKE and endpoint.state in _HANDSHAKE and peer.state in _HANDSHAKE:
            self._allow(TCP_INACTIVITY_TIMEOUT)
        endpoint.before, endpoint.state = endpoint.state, state

    def _established(self) -> None:
        low, high = self._ports
        orig_port, port = (low, high) if self.orig.low else (high, low)
        if self.orig.state == INACTIVE and port not in LIKELY_TCP_PORTS and orig_port in LIKELY_TCP_PORTS:
            port = orig_port
        if port in INTERACTIVE_PORTS:
            self._allow(PORT_INACTIVITY_TIMEOUT)

    def _advance(self, endpoint: Endpoint, peer: Endpoint, packet: Packet, from_orig: bool) -> tuple[bool, bool]:
        """The state machine; whether this closes the endpoint's side, and whether that is to end all activity."""
        flags, close, ends = packet.flags, False, False
        if endpoint.state == INACTIVE:
            return self._advance_inactive(endpoint, peer, packet, from_orig)
        if endpoint.state in (SYN_SENT, SYN_ACK_SENT):
            if flags & FIN:
                self._set(endpoint, peer, CLOSED)
                close = ends = True
            if flags & RST:
                self._set(endpoint, peer, RESET)
                self._active = False
                close = True
        elif endpoint.state in (ESTABLISHED, PARTIAL):
            if flags & SYN and endpoint.state == PARTIAL and peer.state == INACTIVE and not flags & ACK:
                self._set(endpoint, peer, SYN_SENT)
            if flags & FIN and not flags & RST:
                self._set(endpoint, peer, CLOSED)
                if peer.state == RESET and peer.before == CLOSED:
                    self._set(peer, endpoint, CLOSED)
                close = ends = True
            if flags & RST:
                self._set(endpoint, peer, RESET)
                close = True
                if peer.state != RESET or peer.before != ESTABLISHED:
                    self._active = False
        elif endpoint.state == CLOSED and flags & RST and peer.state != CLOSED:
            self._set(endpoint, peer, RESET)
            close = not endpoint.did_close
        return close, ends

    def _advance_inactive(
        self, endpoint: Endpoint, peer: Endpoint, packet: Packet, from_orig: bool
    ) -> tuple[bool, bool]:
        flags, close, ends = packet.flags, False, False
        established = False
        if flags & SYN:
            if from_orig:
                self._set(endpoint, peer, SYN_ACK_SENT if flags & ACK else SYN_SENT)
                self._timers.set("attempt", packet.time + TCP_ATTEMPT_DELAY)
            else:
                if not flags & ACK and peer.state == SYN_ACK_SENT and packet.seq == endpoint.start:
                    # The SYN was captured after its SYN-ACK.
                    self._turn_round()
                    self._set(peer, endpoint, ESTABLISHED)
                    self._seen |= _ORIG
                if peer.state == SYN_SENT:
                    self._set(peer, endpoint, ESTABLISHED)
                self._set(endpoint, peer, ESTABLISHED)
                established = peer.state != PARTIAL
        if flags & FIN:
            self._set(endpoint, peer, CLOSED)
            close = ends = True
        if flags & RST:
            self._set(endpoint, peer, RESET)
            close = True
            refused = peer.state == ESTABLISHED if from_orig else peer.state in (SYN_SENT, SYN_ACK_SENT)
            self.failed |= refused
            ends = not refused
        if endpoint.state == INACTIVE:
            if not from_orig and not packet.payload and self.orig.state == SYN_SENT:
                pass  # an acknowledgement before the SYN-ACK
            elif flags & ACK and peer.state == ESTABLISHED:
                self._set(endpoint, peer, ESTABLISHED)
                self._partial = False
                self._seen |= _ORIG if from_orig else _RESP
            else:
                self._set(endpoint, peer, PARTIAL)
        if established:
            self._established()
        return close, ends

    # Closing

    def _check_end(self, endpoint: Endpoint, peer: Endpoint) -> None:
        """See, once, whether all data of a side that has closed has come; a close may have waited for that."""
        if endpoint.at_end or not (endpoint.fins or endpoint.state in (CLOSED, RESET)) or endpoint.lacks_data(peer):
            return
        endpoint.at_end = True
        if self._deferred:
            self._close(endpoint, peer, self._deferred_ends)
            self._deferred = False

    def _close(self, endpoint: Endpoint, peer: Endpoint, ends: bool) -> None:
        if endpoint.lacks_data(peer):
            self._deferred = True
            self._deferred_ends = self._deferred_ends or ends
            return
        self._deferred = False
        if endpoint.did_close:
            return
        endpoint.did_close = True
        if endpoint.state == RESET or peer.did_close or peer.state == INACTIVE:
            if endpoint.before != INACTIVE or peer.state != INACTIVE:
                if self._deferred_ends:
                    ends, self._deferred_ends = True, False
                if ends:
                    self._active = False
            self._timers.cancel("attempt", "expire", "delete")
            self._timers.set("delete", self._last + TCP_CLOSE_DELAY)
        elif endpoint.before != INACTIVE:
            self._timers.set("expire", self._last + TCP_SESSION_TIMER)
