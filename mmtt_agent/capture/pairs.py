"""Packets brought together by pair of endpoints: who began, and which pairs have to be followed packet by packet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import lag, sessions
from .lag import Lag
from .segments import (
    ACK,
    ALIVE,
    ANSWER,
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

_NEVER = np.iinfo(np.int64).max // 2


@dataclass(slots=True)
class Pairs:
    """Packets sorted by pair of endpoints, then as they lie in the capture: arrays of equal length.

    Attributes:
        order: int64, the segments' numbers.
        row: int64, the records' numbers.
        address, port: as in :class:`Segments`.
        starts: int64, where each pair begins; the others below are per packet.
        pair: int64.
        first: bool, the packet is its pair's first.
        tcp: bool.
        time, now: int64, its own time and network time, µs.
        gap: int64, µs since the packet before in its pair.
        low: bool, sent by the lower endpoint.
        flags, state: uint8.
        payload: int32.
    """

    order: np.ndarray
    row: np.ndarray
    address: np.ndarray
    port: np.ndarray
    starts: np.ndarray
    pair: np.ndarray
    first: np.ndarray
    tcp: np.ndarray
    time: np.ndarray
    now: np.ndarray
    gap: np.ndarray
    low: np.ndarray
    flags: np.ndarray
    state: np.ndarray
    payload: np.ndarray

    @classmethod
    def of(cls, segments: Segments, times: np.ndarray, clock: np.ndarray) -> Pairs:
        order = _by_pair(segments)
        address, port, row = segments.address[order], segments.port[order], segments.row[order]
        first = np.ones(len(order), bool)
        first[1:] = (address[1:] != address[:-1]) | (port[1:] != port[:-1])
        time = times[row]
        gap = np.zeros(len(order), np.int64)
        gap[1:] = np.where(first[1:], 0, time[1:] - time[:-1])
        return cls(
            order, row, address, port, np.flatnonzero(first), np.cumsum(first) - 1, first,
            (port >> np.uint64(32) & np.uint64(0xFF)) == TCP, time, clock[row], gap, segments.forward[order],
            segments.flags[order], segments.state[order], segments.payload[order],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.order)

    def ports(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower endpoint's port, and the other's, of packets: int64."""
        port = self.port[at]
        return (port >> np.uint64(16) & np.uint64(0xFFFF)).astype(np.int64), (port & np.uint64(0xFFFF)).astype(np.int64)


def _by_pair(segments: Segments) -> np.ndarray:
    """The order that brings packets between the same endpoints together, in order of the capture."""
    mixed = segments.address * np.uint64(0x9E3779B97F4A7C15) ^ segments.port * np.uint64(0xC2B2AE3D27D4EB4F)
    order = np.argsort(mixed, kind="stable")
    address, port = segments.address[order], segments.port[order]
    same = mixed[order][1:] == mixed[order][:-1]
    if (same & ((address[1:] != address[:-1]) | (port[1:] != port[:-1]))).any():
        return np.lexsort((segments.port, segments.address))  # two pairs with one hash
    return order


def among(ports: np.ndarray, wanted: frozenset[int]) -> np.ndarray:
    table = np.zeros(1 << 16, bool)
    table[list(wanted)] = True
    found: np.ndarray = table[ports]
    return found


def originators(pairs: Pairs, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of connections that begin at these packets: whether the lower endpoint is the originator, and whether the first
    packet itself turned it round."""
    low, flags, state, tcp = pairs.low[starts], pairs.flags[starts], pairs.state[starts], pairs.tcp[starts]
    low_port, high_port = pairs.ports(starts)
    source, destination = np.where(low, low_port, high_port), np.where(low, high_port, low_port)
    udp_flip = among(source, sessions.LIKELY_UDP_PORTS) & ~among(destination, sessions.LIKELY_UDP_PORTS)
    udp_flip &= state & TO_MANY == 0
    turned = ~tcp & (
        (~udp_flip & (state & ANSWER != 0) & among(destination, sessions.ANSWERING_PORTS))
        | (udp_flip & (state & REQUEST != 0) & (source == 123))
    )
    tcp_flip = ((flags & SYN == 0) | (flags & ACK != 0)) & among(source, sessions.LIKELY_TCP_PORTS)
    tcp_flip &= ~among(destination, sessions.LIKELY_TCP_PORTS) | ((flags & SYN == 0) & (source < destination))
    return low ^ np.where(tcp, tcp_flip, udp_flip ^ turned), turned


def _first_of(mask: np.ndarray, number: np.ndarray, time: np.ndarray, count: int) -> np.ndarray:
    """When each pair (or connection) has its first such packet, in order of the capture, or :data:`_NEVER`."""
    found: np.ndarray = np.full(count, _NEVER)
    such = np.flatnonzero(mask)
    first = such[np.flatnonzero(np.diff(number[such], prepend=-1))]
    found[number[first]] = time[first]
    return found


def odd(pairs: Pairs, starts: np.ndarray, low_is_orig: np.ndarray) -> np.ndarray:
    """Which pairs of endpoints need to be followed packet by packet: bool ``(pairs,)``.

    Args:
        starts: where connections begin if none needs to be.
        low_is_orig: per connection.
    """
    count, pair, time, flags, state = len(pairs.starts), pairs.pair, pairs.time, pairs.flags, pairs.state
    last = np.append(pairs.starts, len(pairs))[1:] - 1
    begin, end = time[pairs.starts], time[last]

    def any_of(mask: np.ndarray) -> np.ndarray:
        return np.bincount(pair[mask], minlength=count) > 0

    tcp = pairs.tcp[pairs.starts]
    low_port, high_port = pairs.ports(pairs.starts)
    found: np.ndarray = any_of(pairs.time != pairs.now)
    if not tcp.all():
        udp = ~tcp
        dns = udp & (among(low_port, sessions.DNS_PORTS) | among(high_port, sessions.DNS_PORTS))
        found |= udp & any_of(~pairs.tcp & (state & ALIVE == 0))
        found |= dns & (end - begin >= sessions.DNS_SESSION_TIMEOUT)
        # Only the first message turns a DNS connection round.
        message = state & MESSAGE != 0
        mute = np.zeros(count, bool)
        mute[pair[starts[~message[starts]]]] = True
        if (mute & dns).any():
            found |= dns & mute & any_of(message)
        ntp = udp & ((low_port == 123) | (high_port == 123))
        if ntp.any():
            asked = np.flatnonzero(ntp[pair] & (state & (ANSWER | REQUEST) != 0))
            connection = np.searchsorted(starts, asked, "right") - 1
            from_orig = pairs.low[asked] == low_is_orig[connection]
            turns = (state[asked] & np.where(from_orig, ANSWER, REQUEST) != 0) & (starts[connection] != asked)
            found[pair[asked[turns]]] = True

    first = flags[pairs.starts]
    plain_syn = first & (SYN | ACK | FIN | RST) == SYN
    midstream = first & (SYN | FIN | RST) == 0
    syn, ack = flags & SYN != 0, flags & ACK != 0
    first_closing = np.minimum(_first_of(flags & (FIN | RST) != 0, pair, time, count), end)
    # The first packet of whoever did not send the first. An acknowledgement of a SYN is no answer to it.
    by_other = pairs.low != pairs.low[pairs.starts][pair]
    answered = _first_of(by_other & ((pairs.payload > 0) | (flags & (SYN | FIN | RST) != 0)), pair, time, count)
    synack = _first_of(by_other & syn & ack, pair, time, count)
    calm = (
        (plain_syn | (midstream & ~any_of(syn)))
        & ~any_of(syn & ~ack & ~pairs.first)
        & ~any_of(pairs.tcp & (state & STATELESS != 0))
        & (end - first_closing < sessions.TCP_CLOSE_DELAY)
        & ((answered < begin + sessions.TCP_ATTEMPT_DELAY) | (end - begin < sessions.TCP_ATTEMPT_DELAY) | midstream)
        & ~any_of(pairs.gap >= sessions.TCP_INACTIVITY_TIMEOUT)
        & (
            (synack < begin + sessions.TCP_ATTEMPT_DELAY)
            | midstream
            | ~any_of(pairs.gap >= sessions.UDP_INACTIVITY_TIMEOUT)
        )
    )
    found |= tcp & ~calm
    return found


def failed_plainly(pairs: Pairs, clock: np.ndarray, lag: Lag) -> np.ndarray:
    """Of pairs that :func:`odd` does not name: whether their TCP connection was not answered in time, or with a RST:
    bool ``(pairs,)``.

    Args:
        clock: int64, network time at each record, µs.
        lag: where timers go off late.
    """
    count, index = len(pairs.starts), np.arange(len(pairs))
    first = pairs.flags[pairs.starts]
    candidate = pairs.tcp[pairs.starts] & (first & (SYN | ACK | FIN | RST) == SYN)
    by_other = pairs.low != pairs.low[pairs.starts][pairs.pair]
    closing = pairs.flags & (FIN | RST) != 0
    # Where each pair has the packet that answers the SYN; an acknowledgement alone does not.
    answer = _first_of(
        by_other & ((pairs.payload > 0) | (pairs.flags & (SYN | FIN | RST) != 0)), pairs.pair, index, count
    )
    given_up = _first_of(~by_other & closing, pairs.pair, index, count)
    failed: np.ndarray = candidate & (answer < given_up)
    failed[failed] = pairs.flags[answer[failed]] & (SYN | RST) == RST
    open_still = np.flatnonzero(candidate & (answer == _NEVER) & (given_up == _NEVER))
    due = pairs.time[pairs.starts[open_still]] + sessions.TCP_ATTEMPT_DELAY
    before = np.searchsorted(clock, due)
    if lag.late:
        late_by = (lag.of(record, at) for record, at in zip(before.tolist(), due.tolist(), strict=True))
        before += np.fromiter(late_by, np.int64)
    failed[open_still[before < len(clock)]] = True
    return failed


def late(pairs: Pairs, starts: np.ndarray, clock: np.ndarray) -> Lag:
    """Where Zeek's timers go off late, with connections that begin at these packets."""
    if not len(starts):
        return Lag()
    begin, last = pairs.now[starts], pairs.time[np.append(starts, len(pairs))[1:] - 1]
    number = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(pairs))))
    closing = pairs.flags & (FIN | RST) != 0
    open_at_end = pairs.tcp[starts] & (np.bincount(number[closing], minlength=len(starts)) == 0)
    if not lag.possible(clock, begin, last, open_at_end):
        return Lag()
    by_other = pairs.low != pairs.low[starts][number]

    def first_of(mask: np.ndarray) -> np.ndarray:
        return _first_of(mask, number, pairs.time, len(starts))

    fin = pairs.flags & FIN != 0
    closed = np.maximum(first_of(fin & by_other), first_of(fin & ~by_other))
    closed = np.minimum(closed, first_of(pairs.flags & RST != 0))
    low_port, high_port = pairs.ports(starts)
    dns = among(low_port, sessions.DNS_PORTS) | among(high_port, sessions.DNS_PORTS)
    tcp = pairs.tcp[starts]
    return lag.find(clock, begin, last, tcp, ~tcp & dns, first_of(by_other) < _NEVER, closed)
