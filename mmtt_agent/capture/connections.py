"""Packets to connections, cut as Zeek cuts them."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from dataclasses import dataclass

import numpy as np

from . import sessions
from .addresses import Addresses
from .pairs import Pairs, failed_plainly, late, odd, originators
from .segments import COUNTED, Segments
from .tcp_sessions import cut_tcp
from .udp_sessions import cut_udp

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# By number, two digits of base 62, the lower first.
_TWO = [low + high for high in _BASE62 for low in _BASE62]


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
        failed: bool ``(n,)``, TCP connections that came to nothing, as Zeek tells of them (``connection_attempt``,
            ``connection_rejected``): nobody had answered after 5 seconds, or the answer was a RST.
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
    failed: np.ndarray

    def __len__(self) -> int:
        return len(self.ts)

    def uid(self, row: int) -> str:
        """An identifier in the form of Zeek's, always the same for the same connection."""
        about = b"".join(
            (self.orig_h[row].tobytes(), self.resp_h[row].tobytes(), self.orig_p[row].tobytes(),
             self.resp_p[row].tobytes(), self.proto[row].tobytes(), self.ts[row].tobytes())
        )  # fmt: skip
        number = int.from_bytes(hashlib.blake2b(about, digest_size=13).digest(), "big")
        digits = ["C"]
        for _ in range(8):
            number, two = divmod(number, 62 * 62)
            digits.append(_TWO[two])
        digits.append(_BASE62[number % 62])
        return "".join(digits)

    def addresses(self, rows: np.ndarray) -> tuple[list[str], list[str]]:
        """Originators' and responders' addresses as text."""
        return (
            [_text(h, six) for h, six in zip(self.orig_h[rows], self.is_ipv6[rows], strict=True)],
            [_text(h, six) for h, six in zip(self.resp_h[rows], self.is_ipv6[rows], strict=True)],
        )


def _text(address: np.ndarray, six: bool) -> str:
    raw = address.tobytes()
    return str(ipaddress.IPv6Address(raw)) if six else socket.inet_ntoa(raw[12:])


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
    pairs = Pairs.of(segments, times, clock)
    # UDP: an idle minute ends a connection, and that is all unless a timer of DNS is about.
    begins = pairs.first | (~pairs.tcp & (pairs.gap >= sessions.UDP_INACTIVITY_TIMEOUT))
    starts = np.flatnonzero(begins)
    of_starts, turned = originators(pairs, starts)
    slow = odd(pairs, starts, of_starts)
    lag = late(pairs, starts, clock)
    if lag.late:
        slow[pairs.pair[np.isin(pairs.row, lag.records()) & ~pairs.first]] = True
    low_is_orig = np.zeros(len(pairs), bool)
    low_is_orig[starts] = of_starts
    # Zeek counts the datagram that made it turn a connection round for the side that it had taken its sender for, and
    # does not change the signs of those before.
    against = np.zeros(len(pairs), bool)
    against[starts] = turned
    before = against.copy()
    failed = np.zeros(len(pairs), bool)
    failed[pairs.starts] = failed_plainly(pairs, clock, lag)
    if slow.any():
        when = sessions.Clock(clock.tolist(), lag)
        sizes = np.diff(np.append(pairs.starts, len(pairs)))
        for which in np.flatnonzero(slow).tolist():
            at = int(pairs.starts[which])
            span = slice(at, at + int(sizes[which]))
            of = pairs.order[span]
            columns = (
                pairs.row[span], pairs.time[span], pairs.now[span], pairs.low[span], pairs.flags[span],
                segments.seq[of], segments.ack[of], pairs.payload[span], pairs.state[span],
            )  # fmt: skip
            packets = [sessions.Packet(*fields) for fields in zip(*(c.tolist() for c in columns), strict=True)]
            low_port, high_port = pairs.ports(np.array([at]))
            cuts = (cut_tcp if pairs.tcp[at] else cut_udp)(packets, (int(low_port[0]), int(high_port[0])), when)
            begins[span] = against[span] = before[span] = failed[span] = False
            for cut in cuts:
                begins[at + cut.first] = True
                low_is_orig[at + cut.first] = cut.low_is_orig
                failed[at + cut.first] = cut.failed
                for index in cut.turns:
                    against[at + index] = True
                    before[at + cut.first : at + index + 1] ^= True

    starts = np.flatnonzero(begins)
    number = np.cumsum(begins) - 1
    # Connections are numbered by their first packet, as it lies in the capture.
    ranked = np.argsort(pairs.order[starts], kind="stable")
    rank = np.empty(len(starts), np.int64)
    rank[ranked] = np.arange(len(starts))
    connection = rank[number]
    orig_low = low_is_orig[starts]
    side = pairs.low == orig_low[number]
    for_orig = side ^ against if against.any() else side
    from_orig = side ^ before if before.any() else side

    counted = pairs.state & COUNTED != 0
    orig_pkts = np.bincount(connection[counted & for_orig], minlength=len(starts))
    resp_pkts = np.bincount(connection[counted & ~for_orig], minlength=len(starts))
    starts, orig_low = starts[ranked], orig_low[ranked]
    family = (pairs.port[starts] >> np.uint64(40)) != 0
    address = pairs.address[starts]
    low_address = addresses.bytes_of(family, (address >> np.uint64(32)).astype(np.uint32))
    high_address = addresses.bytes_of(family, (address & np.uint64(0xFFFFFFFF)).astype(np.uint32))
    low_port, high_port = pairs.ports(starts)
    either = orig_low[:, None]
    connections = Connections(
        ts=pairs.time[starts],
        orig_h=np.where(either, low_address, high_address),
        resp_h=np.where(either, high_address, low_address),
        is_ipv6=family,
        orig_p=np.where(orig_low, low_port, high_port).astype(np.uint16),
        resp_p=np.where(orig_low, high_port, low_port).astype(np.uint16),
        proto=np.where(pairs.tcp[starts], 6, 17).astype(np.uint8),
        orig_pkts=orig_pkts,
        resp_pkts=resp_pkts,
        failed=failed[starts],
    )
    # Numbered anew, packets of a connection still lie together: sort the runs.
    resort = np.argsort(connection, kind="stable")
    return connections, Assigned(pairs.order[resort], connection[resort], from_orig[resort])
