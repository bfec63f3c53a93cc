"""How Zeek cuts one pair of endpoints' packets into connections: its TCP states and its timers, packet by packet.

Most pairs of endpoints need none of this (``connections`` tells which do): only those on which a timer may have ended
a connection between two packets, that were used again, or whose first packet was not a plain SYN.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from .segments import ACK, ALIVE, ANSWER, FIN, RST, STATELESS, SYN, TO_MANY, ZERO_WINDOW

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
TCP_RESET_DELAY = 5_000_000
TCP_PARTIAL_CLOSE_DELAY = 3_000_000
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

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)
_HANDSHAKE = (INACTIVE, SYN_SENT, SYN_ACK_SENT)
#: A sequence number this far on is none of the connection's.
_FAR = 1 << 30


@dataclass(slots=True)
class Packet:
    """A packet of the pair: time and network time (which never goes back) in µs, whether the lower endpoint sent it,
    TCP fields, payload bytes, state bits."""

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
    """A connection: its first packet's index in the pair's, and whether the lower endpoint is the originator."""

    first: int
    low_is_orig: bool


@dataclass(slots=True)
class _Endpoint:
    low: bool
    state: int = INACTIVE
    before: int = INACTIVE
    did_close: bool = False
    start_seq: int = 0
    # Of its data, in bytes after start_seq: how far it came without a gap, how far at all, and what lies past a gap.
    whole: int = 1
    reached: int = 1
    beyond: list[tuple[int, int]] = field(default_factory=list)

    def begin(self, seq: int) -> None:
        """Sequence numbers count from `seq`, a SYN's."""
        self.start_seq, self.whole, self.reached, self.beyond = seq, 1, 1, []

    def data(self, begin: int, end: int) -> None:
        """Data has come, from and to sequence numbers."""
        begin, end = begin - self.start_seq & 0xFFFFFFFF, end - self.start_seq & 0xFFFFFFFF
        if end < begin or end > _FAR:
            return
        self.reached = max(self.reached, end)
        self.beyond.append((begin, end))
        self._join()

    def acknowledged(self, seq: int) -> None:
        """The peer has all before `seq`, whether the capture has or not."""
        end = seq - self.start_seq & 0xFFFFFFFF
        if self.whole < end <= _FAR:
            self.whole = end
            self._join()

    def _join(self) -> None:
        for begin, end in sorted(self.beyond):
            if begin > self.whole:
                break
            self.whole = max(self.whole, end)
        self.beyond = [each for each in self.beyond if each[1] > self.whole]

    @property
    def lacks_data(self) -> bool:
        """There is data that came after a gap."""
        return self.whole < self.reached


@dataclass(slots=True)
class _Timers:
    """When a connection's timers are due, in µs; None for those that are not set."""

    attempt: int | None = None
    expire: list[int] = field(default_factory=list)
    reset: int | None = None
    partial: int | None = None
    delete: int | None = None


class Clock:
    """Network time at each of the capture's packets: when a timer that is due goes off."""

    def __init__(self, times: list[int]) -> None:
        self._times = times

    def after(self, due: int) -> int:
        """The first packet's time at or after `due`; that packet must exist."""
        return self._times[bisect.bisect_left(self._times, due)]


def cut_udp(packets: list[Packet], ports: tuple[int, int], clock: Clock) -> list[Cut]:
    """Cut a pair's datagrams; ``ports`` are the lower endpoint's and the other's."""
    cuts: list[Cut] = []
    begun = last = 0
    dns = False
    for index, packet in enumerate(packets):
        if not cuts or _udp_over(packet.now, begun, last, dns, clock):
            source, destination = ports if packet.low else ports[::-1]
            flip = udp_flipped(source, destination, packet.state)
            cuts.append(Cut(index, packet.low != flip))
            begun, last = packet.now, packet.time
            dns = (source if flip else destination) in DNS_PORTS
        elif packet.state & ALIVE:
            last = packet.time
    return cuts


def udp_flipped(source: int, destination: int, state: int) -> bool:
    """Whether a connection's first datagram's sender is taken for the responder."""
    if source in LIKELY_UDP_PORTS and destination not in LIKELY_UDP_PORTS:
        return not state & TO_MANY
    # DNS and NTP look only at connections to their ports.
    return bool(state & ANSWER) and destination in ANSWERING_PORTS


def _udp_over(now: int, begun: int, last: int, dns: bool, clock: Clock) -> bool:
    """Whether a connection is over before a packet at ``now``."""
    if now - last >= UDP_INACTIVITY_TIMEOUT:
        return True
    if not dns:
        return False
    due = begun + DNS_SESSION_TIMEOUT
    while due <= now:
        fired = clock.after(due)
        # `last` is the last packet's time now; the timer may have gone off before that packet came, and seen less.
        if fired >= last and fired - last >= DNS_SESSION_TIMEOUT - 1_000_000:
            return True
        due = fired + DNS_SESSION_TIMEOUT
    return False


class TcpConnection:
    """One connection as Zeek follows it, as far as it bears on when it ends and who its originator is."""

    def __init__(self, packet: Packet, ports: tuple[int, int]) -> None:
        source, destination = ports if packet.low else ports[::-1]
        self._ports = ports
        self.orig = _Endpoint(packet.low != _flipped(packet.flags, source, destination))
        self.resp = _Endpoint(not self.orig.low)
        self.last = packet.time
        # Until one side is past its handshake, TCP is given no more time than UDP.
        self.inactivity: int | None = UDP_INACTIVITY_TIMEOUT
        self.timers = _Timers(expire=[packet.now + TCP_SYN_TIMEOUT])
        self.active = True
        self._history = ""
        self._deferred = False

    @property
    def low_is_orig(self) -> bool:
        return self.orig.low

    def over(self, now: int, clock: Clock) -> bool:
        """Run the timers that are due by ``now``; whether one of them ended the connection."""
        timers = self.timers
        while True:
            due = min(
                (
                    t
                    for t in (
                        timers.attempt,
                        min(timers.expire, default=None),
                        timers.reset,
                        timers.partial,
                        timers.delete,
                        None if self.inactivity is None else self.last + self.inactivity,
                    )
                    if t is not None
                ),
                default=None,
            )
            if due is None or due > now:
                return False
            if due == timers.delete or due == timers.reset:
                if due == timers.delete or self.active:
                    return True
                timers.reset = None
            elif self.inactivity is not None and due == self.last + self.inactivity:
                return True
            elif due == timers.attempt:
                timers.attempt = None
                if self.active and self.orig.state in (SYN_SENT, SYN_ACK_SENT) and self.resp.state == INACTIVE:
                    return True
            elif due == timers.partial:
                timers.partial = None
                states = self.orig.state, self.resp.state
                if (
                    self.active
                    and INACTIVE not in states
                    and not (self.orig.did_close and self.resp.did_close)
                    and RESET not in states
                ):
                    return True
            else:
                timers.expire.remove(due)
                fired = clock.after(due)
                if self.active:
                    if self._expired(fired):
                        return True
                    timers.expire.append(fired + TCP_SESSION_TIMER)

    def _expired(self, now: int) -> bool:
        orig, resp = self.orig, self.resp
        if self.last + TCP_CONNECTION_LINGER >= now:
            return False
        states = orig.state, resp.state
        if orig.did_close or resp.did_close:
            if (orig.did_close and resp.did_close) or RESET in states or INACTIVE in states:
                return True
        return orig.state == INACTIVE and resp.state == INACTIVE

    def is_reuse(self, packet: Packet) -> bool:
        """Whether a packet begins another connection between the same endpoints."""
        if not packet.flags & SYN:
            return False
        endpoint = self.orig
        if packet.flags & ACK:
            if self.orig.state != INACTIVE:
                return False
            endpoint = self.resp
        if not (self.orig.did_close or self.resp.did_close):
            if packet.seq == endpoint.start_seq:
                return False
            if (
                not packet.flags & ACK
                and endpoint.state == SYN_ACK_SENT
                and self.resp.state == INACTIVE
                and packet.seq == self.resp.start_seq
            ):
                return False
        return True

    def take(self, packet: Packet) -> None:
        """Follow the connection through a packet."""
        if packet.state & STATELESS:
            self._history = "other"
            return
        flags = packet.flags
        endpoint = self.orig if packet.low == self.orig.low else self.resp
        peer = self.resp if endpoint is self.orig else self.orig
        is_orig = endpoint is self.orig
        self._init(endpoint, packet)
        self._note(endpoint, packet)
        if not (self.orig.did_close and self.resp.did_close):
            self.last = packet.time
        if flags & ACK:
            if peer.state == INACTIVE:
                peer.begin(packet.ack - 1 & 0xFFFFFFFF)
            elif not flags & RST:
                peer.acknowledged(packet.ack)
        close = self._advance(endpoint, peer, packet, is_orig)
        if not flags & RST:
            begin = packet.seq + bool(flags & SYN)
            endpoint.data(begin, begin + packet.payload)
        if close:
            self._close(endpoint, peer)
        if self._deferred:
            for side, other in ((endpoint, peer), (peer, endpoint)):
                if side.state in (CLOSED, RESET) and not side.lacks_data:
                    self._close(side, other)

    def _init(self, endpoint: _Endpoint, packet: Packet) -> None:
        syn = packet.flags & SYN
        if endpoint.state == INACTIVE:
            endpoint.begin(packet.seq if syn else packet.seq - 1 & 0xFFFFFFFF)
        elif syn and (
            endpoint.state not in (CLOSED, RESET) or (endpoint.state == RESET and endpoint.before == INACTIVE)
        ):
            endpoint.begin(packet.seq)

    def _note(self, endpoint: _Endpoint, packet: Packet) -> None:
        """Keep the history as far as it matters: whether all so far is a SYN-ACK from the originator."""
        bits = packet.flags & (SYN | FIN | RST)
        if bits:
            # A window of zero leaves its own mark.
            synack = bits == SYN and packet.flags & ACK and endpoint is self.orig and not packet.state & ZERO_WINDOW
            if not (synack and self._history in ("", "H")):
                self._history = "other"
            else:
                self._history = "H"
            return
        if not packet.payload and not packet.flags & ACK:
            return
        if self._history == "H":
            # Traffic that goes on after a lone SYN-ACK: it came from the responder.
            self._flip()
        self._history = "other"

    def _flip(self) -> None:
        self.orig, self.resp = self.resp, self.orig

    def _set(self, endpoint: _Endpoint, peer: _Endpoint, state: int) -> None:
        if state == endpoint.state:
            return
        if state not in _HANDSHAKE and endpoint.state in _HANDSHAKE and peer.state in _HANDSHAKE:
            self.inactivity = TCP_INACTIVITY_TIMEOUT
        endpoint.before, endpoint.state = endpoint.state, state

    def _established(self) -> None:
        low, high = self._ports
        orig_port, resp_port = (low, high) if self.orig.low else (high, low)
        port = resp_port
        if self.orig.state == INACTIVE and port not in LIKELY_TCP_PORTS and orig_port in LIKELY_TCP_PORTS:
            port = orig_port
        if port in INTERACTIVE_PORTS:
            self.inactivity = PORT_INACTIVITY_TIMEOUT

    def _advance(self, endpoint: _Endpoint, peer: _Endpoint, packet: Packet, is_orig: bool) -> bool:
        """The state machine; whether this closes the endpoint's side."""
        flags, close = packet.flags, False
        if endpoint.state == INACTIVE:
            return self._advance_inactive(endpoint, peer, packet, is_orig)
        if endpoint.state in (SYN_SENT, SYN_ACK_SENT):
            if flags & FIN:
                self._set(endpoint, peer, CLOSED)
                close = True
            if flags & RST:
                self._set(endpoint, peer, RESET)
                self.active = False
                close = True
        elif endpoint.state in (ESTABLISHED, PARTIAL):
            if flags & SYN and endpoint.state == PARTIAL and peer.state == INACTIVE and not flags & ACK:
                self._set(endpoint, peer, SYN_SENT)
            if flags & FIN and not flags & RST:
                self._set(endpoint, peer, CLOSED)
                if peer.state == RESET and peer.before == CLOSED:
                    self._set(peer, endpoint, CLOSED)
                close = True
            if flags & RST:
                self._set(endpoint, peer, RESET)
                close = True
                if peer.state != RESET or peer.before != ESTABLISHED:
                    self.active = False
        elif endpoint.state == CLOSED and flags & RST and peer.state != CLOSED:
            self._set(endpoint, peer, RESET)
            close = not endpoint.did_close
            self.timers.reset = packet.time + TCP_RESET_DELAY
        return close

    def _advance_inactive(self, endpoint: _Endpoint, peer: _Endpoint, packet: Packet, is_orig: bool) -> bool:
        flags, close = packet.flags, False
        if flags & SYN:
            if is_orig:
                self._set(endpoint, peer, SYN_ACK_SENT if flags & ACK else SYN_SENT)
                self.timers.attempt = packet.time + TCP_ATTEMPT_DELAY
            else:
                if not flags & ACK and peer.state == SYN_ACK_SENT and packet.seq == endpoint.start_seq:
                    # The SYN was captured after its SYN-ACK.
                    self._flip()
                    self._set(peer, endpoint, ESTABLISHED)
                if peer.state == SYN_SENT:
                    self._set(peer, endpoint, ESTABLISHED)
                self._set(endpoint, peer, ESTABLISHED)
                if peer.state != PARTIAL:
                    self._established()
        if flags & FIN:
            self._set(endpoint, peer, CLOSED)
            close = True
        if flags & RST:
            self._set(endpoint, peer, RESET)
            close = True
        if endpoint.state == INACTIVE:
            if not is_orig and not packet.payload and self.orig.state == SYN_SENT:
                pass
            elif flags & ACK and peer.state == ESTABLISHED:
                self._set(endpoint, peer, ESTABLISHED)
            else:
                self._set(endpoint, peer, PARTIAL)
        return close

    def _close(self, endpoint: _Endpoint, peer: _Endpoint) -> None:
        if endpoint.lacks_data:
            # It may still come, and a connection isn't closed without.
            self._deferred = True
            return
        self._deferred = False
        if endpoint.did_close:
            return
        endpoint.did_close = True
        timers = self.timers
        if endpoint.state == RESET or peer.did_close or peer.state == INACTIVE:
            timers.attempt, timers.expire, timers.reset, timers.partial = None, [], None, None
            self.inactivity = None
            timers.delete = self.last + TCP_CLOSE_DELAY
            if endpoint.before != INACTIVE or peer.state != INACTIVE:
                self.active = self.active and endpoint.state == RESET
        elif endpoint.before == INACTIVE:
            timers.partial = self.last + TCP_PARTIAL_CLOSE_DELAY
        else:
            timers.expire.append(self.last + TCP_SESSION_TIMER)


def _flipped(flags: int, source: int, destination: int) -> bool:
    """Whether the first packet's sender is taken for the responder."""
    if flags & SYN and not flags & ACK:
        return False
    if source not in LIKELY_TCP_PORTS:
        return False
    return destination not in LIKELY_TCP_PORTS or (not flags & SYN and source < destination)


def cut_tcp(packets: list[Packet], ports: tuple[int, int], clock: Clock) -> list[Cut]:
    """Cut a pair's segments; ``ports`` are the lower endpoint's and the other's."""
    cuts: list[Cut] = []
    connections: list[TcpConnection] = []
    connection: TcpConnection | None = None
    for index, packet in enumerate(packets):
        if connection is None or connection.over(packet.now, clock) or connection.is_reuse(packet):
            connection = TcpConnection(packet, ports)
            connections.append(connection)
            cuts.append(Cut(index, True))
        connection.take(packet)
    for cut, each in zip(cuts, connections):
        cut.low_is_orig = each.low_is_orig
    return cuts
