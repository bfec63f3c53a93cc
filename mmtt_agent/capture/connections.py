"""Packets to connections, cut as Zeek cuts them."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

import numpy as np

from . import sessions
from .addresses import Addresses
from .segments import (
    ACK,
    ALIVE,
    ANSWER,
    COUNTED,
    FIN,
    MESSAGE,
    REQUEST,
    RST,
    STATELESS,
    SYN,
    TCP,
    TO_MANY,
    Segments,
)
from .tcp_sessions import cut_tcp
from .udp_sessions import cut_udp

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Connections:
    """TCP and UDP connections as arrays, in order of their first packet.

    Attributes:
        ts: int64 ``(n,)``, time of the first packet, microseconds since 1970.
        orig_h, resp_h: uint8 ``(n, 16)``, IPv4 as IPv4-mapped IPv6.
        is_ipv6: bool ``(n,)``.
        orig_p, resp_p: uint16 ``(n,)``.
        proto: uint8 ``(n,)``, 6 or 17.
        orig_pkts, resp_pkts: int64 ``(n,)``, packets each way, with payload or not.
    """

    ts: np.ndarray
    orig_h: np.ndarray
    resp_h: np.ndarray
    is_ipv6: np.ndarray
    orig_p: np.ndarray
    resp_p: np.ndarray
    proto: np.ndarray
    orig_pkts: np.ndarray
    resp_pkts: np.ndarray

    def __len__(self) -> int:
        return len(self.ts)

    def uid(self, row: int) -> str:
        """An identifier in the form of Zeek's, always the same for the same connection."""
        about = b"".join(
            (self.orig_h[row].tobytes(), self.resp_h[row].tobytes(), self.orig_p[row].tobytes(),
             self.resp_p[row].tobytes(), self.proto[row].tobytes(), self.ts[row].tobytes())
        )  # fmt: skip
        number = int.from_bytes(hashlib.blake2b(about, digest_size=13).digest(), "big")
        digits = []
        for _ in range(17):
            number, digit = divmod(number, 62)
            digits.append(_BASE62[digit])
        return "C" + "".join(digits)

    def addresses(self, rows: np.ndarray) -> tuple[list[str], list[str]]:
        """Originators' and responders' addresses as text."""
        return (
            [_text(h, six) for h, six in zip(self.orig_h[rows], self.is_ipv6[rows], strict=True)],
            [_text(h, six) for h, six in zip(self.resp_h[rows], self.is_ipv6[rows], strict=True)],
        )


def _text(address: np.ndarray, six: bool) -> str:
    raw = address.tobytes()
    return str(ipaddress.IPv6Address(raw) if six else ipaddress.IPv4Address(raw[12:]))


@dataclass(slots=True)
class Assigned:
    """Packets sorted by connection, then time: the order, and per packet its connection and whether Zeek took its
    sender for the originator then."""

    order: np.ndarray
    connection: np.ndarray
    from_orig: np.ndarray


def assign(
    segments: Segments, times: np.ndarray, clock: np.ndarray, addresses: Addresses
) -> tuple[Connections, Assigned]:
    """Cut a capture's segments into connections.

    Args:
        segments: in order of the capture.
        times: int64, the time of each of the capture's records, microseconds.
        clock: int64, network time at each of the capture's records, microseconds; never decreasing.
        addresses: what the segments' address numbers stand for.
    """
    order = _by_pair(segments)
    address, port = segments.address[order], segments.port[order]
    time, now, low = times[segments.row[order]], clock[segments.row[order]], segments.forward[order]
    n = len(order)
    first_of_pair = np.ones(n, bool)
    first_of_pair[1:] = (address[1:] != address[:-1]) | (port[1:] != port[:-1])
    pair_starts = np.flatnonzero(first_of_pair)
    pair = np.cumsum(first_of_pair) - 1
    low_port = (port >> np.uint64(16) & np.uint64(0xFFFF)).astype(np.int64)
    high_port = (port & np.uint64(0xFFFF)).astype(np.int64)
    is_tcp = (port >> np.uint64(32) & np.uint64(0xFF)) == TCP

    begins, low_is_orig = first_of_pair.copy(), np.zeros(n, bool)
    gap = np.zeros(n, np.int64)
    gap[1:] = np.where(first_of_pair[1:], 0, time[1:] - time[:-1])
    flags, state = segments.flags[order], segments.state[order]

    # UDP: an idle minute ends a connection, and that is all unless a timer of DNS is about.
    begins |= ~is_tcp & (gap >= sessions.UDP_INACTIVITY_TIMEOUT)
    source, destination = np.where(low, low_port, high_port), np.where(low, high_port, low_port)
    udp_flip = _among(source, sessions.LIKELY_UDP_PORTS) & ~_among(destination, sessions.LIKELY_UDP_PORTS)
    udp_flip &= state & TO_MANY == 0
    turned = ~is_tcp & (
        (~udp_flip & (state & ANSWER != 0) & _among(destination, sessions.ANSWERING_PORTS))
        | (udp_flip & (state & REQUEST != 0) & (source == 123))
    )
    udp_flip ^= turned
    tcp_flip = ((flags & SYN == 0) | (flags & ACK != 0)) & _among(source, sessions.LIKELY_TCP_PORTS)
    tcp_flip &= ~_among(destination, sessions.LIKELY_TCP_PORTS) | ((flags & SYN == 0) & (source < destination))
    low_is_orig[:] = low ^ np.where(is_tcp, tcp_flip, udp_flip)

    # Zeek counts the datagram that made it turn a connection round for the side that it had taken its sender for, and
    # does not change the signs of those before.
    against = begins & turned
    before = against.copy()

    slow = _odd_pairs(
        pair_starts, pair, begins, low_is_orig, is_tcp, gap, time, now, flags, state, segments.payload[order], low,
        low_port, high_port,
    )  # fmt: skip
    if slow.any():
        sizes = np.diff(np.append(pair_starts, n))
        when = sessions.Clock(clock.tolist())
        for which in np.flatnonzero(slow).tolist():
            at = int(pair_starts[which])
            span = slice(at, at + int(sizes[which]))
            of = order[span]
            columns = (
                time[span], now[span], low[span], flags[span], segments.seq[of], segments.ack[of],
                segments.payload[of], state[span],
            )  # fmt: skip
            packets = [sessions.Packet(*fields) for fields in zip(*(c.tolist() for c in columns), strict=True)]
            ports = int(low_port[at]), int(high_port[at])
            cuts = (cut_tcp if is_tcp[at] else cut_udp)(packets, ports, when)
            begins[span] = against[span] = before[span] = False
            for cut in cuts:
                begins[at + cut.first] = True
                low_is_orig[at + cut.first] = cut.low_is_orig
                for index in cut.turns:
                    against[at + index] = True
                    before[at + cut.first : at + index + 1] ^= True

    starts = np.flatnonzero(begins)
    number = np.cumsum(begins) - 1
    # Connections are numbered by their first packet, as it lies in the capture.
    ranked = np.argsort(order[starts], kind="stable")
    rank = np.empty(len(starts), np.int64)
    rank[ranked] = np.arange(len(starts))
    connection = rank[number]
    orig_low = low_is_orig[starts]
    side = low == orig_low[number]
    counts_for_orig = side ^ against

    counted = state & COUNTED != 0
    orig_pkts = np.bincount(connection[counted & counts_for_orig], minlength=len(starts))
    resp_pkts = np.bincount(connection[counted & ~counts_for_orig], minlength=len(starts))
    starts, orig_low = starts[ranked], orig_low[ranked]
    family = (port[starts] >> np.uint64(40)) != 0
    low_address = addresses.bytes_of(family, (address[starts] >> np.uint64(32)).astype(np.uint32))
    high_address = addresses.bytes_of(family, (address[starts] & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    either = orig_low[:, None]
    connections = Connections(
        ts=time[starts],
        orig_h=np.where(either, low_address, high_address),
        resp_h=np.where(either, high_address, low_address),
        is_ipv6=family,
        orig_p=np.where(orig_low, low_port[starts], high_port[starts]).astype(np.uint16),
        resp_p=np.where(orig_low, high_port[starts], low_port[starts]).astype(np.uint16),
        proto=np.where(is_tcp[starts], 6, 17).astype(np.uint8),
        orig_pkts=orig_pkts,
        resp_pkts=resp_pkts,
    )
    # Numbered anew, packets of a connection still lie together: sort the runs.
    resort = np.argsort(connection, kind="stable")
    return connections, Assigned(order[resort], connection[resort], (side ^ before)[resort])


def _by_pair(segments: Segments) -> np.ndarray:
    """The order that brings packets between the same endpoints together, in order of the capture."""
    mixed = segments.address * np.uint64(0x9E3779B97F4A7C15) ^ segments.port * np.uint64(0xC2B2AE3D27D4EB4F)
    order = np.argsort(mixed, kind="stable")
    address, port = segments.address[order], segments.port[order]
    same = mixed[order][1:] == mixed[order][:-1]
    if (same & ((address[1:] != address[:-1]) | (port[1:] != port[:-1]))).any():
        return np.lexsort((segments.port, segments.address))  # two pairs with one hash
    return order


def _among(ports: np.ndarray, wanted: frozenset[int]) -> np.ndarray:
    table = np.zeros(1 << 16, bool)
    table[list(wanted)] = True
    found: np.ndarray = table[ports]
    return found


def _odd_pairs(
    pair_starts: np.ndarray,
    pair: np.ndarray,
    begins: np.ndarray,
    low_is_orig: np.ndarray,
    is_tcp: np.ndarray,
    gap: np.ndarray,
    time: np.ndarray,
    now: np.ndarray,
    flags: np.ndarray,
    state: np.ndarray,
    payload: np.ndarray,
    low: np.ndarray,
    low_port: np.ndarray,
    high_port: np.ndarray,
) -> np.ndarray:
    """Which pairs of endpoints need to be followed packet by packet: bool ``(pairs,)``."""
    pairs = len(pair_starts)
    last = np.append(pair_starts, len(pair))[1:] - 1
    begin, end = time[pair_starts], time[last]

    def any_of(mask: np.ndarray) -> np.ndarray:
        return np.bincount(pair[mask], minlength=pairs) > 0

    def first_of(mask: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
        """When the first such packet came, in order of the capture."""
        found: np.ndarray = otherwise.copy()
        such = np.flatnonzero(mask)
        first = such[np.flatnonzero(np.diff(pair[such], prepend=-1))]
        found[pair[first]] = time[first]
        return found

    tcp = is_tcp[pair_starts]
    dns = _among(low_port[pair_starts], sessions.DNS_PORTS) | _among(high_port[pair_starts], sessions.DNS_PORTS)
    odd = ~tcp & (any_of(state & ALIVE == 0) | (dns & (end - begin >= sessions.DNS_SESSION_TIMEOUT)))
    # Only the first message turns a DNS connection round.
    message = state & MESSAGE != 0
    odd |= ~tcp & dns & any_of(begins & ~message) & any_of(message)
    ntp = np.flatnonzero(
        ~is_tcp & ~begins & ((low_port == 123) | (high_port == 123)) & (state & (ANSWER | REQUEST) != 0)
    )
    if len(ntp):
        starts = np.flatnonzero(begins)
        from_orig = low[ntp] == low_is_orig[starts[np.searchsorted(starts, ntp) - 1]]
        odd[pair[ntp[state[ntp] & np.where(from_orig, ANSWER, REQUEST) != 0]]] = True

    first = flags[pair_starts]
    plain_syn = first & (SYN | ACK | FIN | RST) == SYN
    midstream = first & (SYN | FIN | RST) == 0
    opening = (flags & SYN != 0) & (flags & ACK == 0)
    opening[pair_starts] = False
    first_closing = first_of(flags & (FIN | RST) != 0, end)
    # The first packet of whoever did not send the first. An acknowledgement of a SYN is no answer to it.
    never = np.full(pairs, np.iinfo(np.int64).max)
    by_other = low != low[pair_starts][pair]
    answered = first_of(by_other & ((payload > 0) | (flags & (SYN | FIN | RST) != 0)), never)
    synack = first_of(by_other & ((flags & (SYN | ACK)) == SYN | ACK), never)
    calm = (
        (plain_syn | (midstream & ~any_of(flags & SYN != 0)))
        & ~any_of(opening)
        & ~any_of(state & STATELESS != 0)
        & (end - first_closing < sessions.TCP_CLOSE_DELAY)
        & ((answered < begin + sessions.TCP_ATTEMPT_DELAY) | (end - begin < sessions.TCP_ATTEMPT_DELAY) | midstream)
        & ~any_of(gap >= sessions.TCP_INACTIVITY_TIMEOUT)
        & ((synack < begin + sessions.TCP_ATTEMPT_DELAY) | midstream | ~any_of(gap >= sessions.UDP_INACTIVITY_TIMEOUT))
    )
    found: np.ndarray = odd | (tcp & ~calm) | any_of(time != now)
    return found
