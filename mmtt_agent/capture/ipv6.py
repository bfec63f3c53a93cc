"""IPv6 extension headers, walked as Zeek does; one packet at a time, since few have any."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTHENTICATION, DESTINATION, MOBILITY = 0, 43, 44, 50, 51, 60, 135

#: bool ``(256,)``: next-header numbers that name an extension header.
IS_EXTENSION = np.zeros(256, bool)
IS_EXTENSION[[HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AUTHENTICATION, DESTINATION, MOBILITY]] = True


class Chain(NamedTuple):
    """A packet's headers.

    Attributes:
        protocol: what follows the last header.
        length: bytes of all headers.
        last: the last header's own number (41: there is but the IPv6 header).
        source, destination: 16 bytes; a home address and a routing header's final destination have been put in.
        fragment: offset in bytes, whether more follow, and identification, if it is one.
    """

    protocol: int
    length: int
    last: int
    source: bytes
    destination: bytes
    fragment: tuple[int, bool, int] | None


def chain(packet: bytes) -> Chain:
    """Walk the headers of a packet (at least 40 bytes of it)."""
    source, destination = packet[8:24], packet[24:40]
    home = final = None
    kind, at, fragment = 41, 40, None
    following = packet[6]
    while kind not in (FRAGMENT, ESP, MOBILITY) and IS_EXTENSION[following]:
        left = len(packet) - at
        if left < 2:
            break
        size = _size(following, packet[at + 1])
        if size > left:
            break
        kind = following
        header = packet[at : at + size]
        following = header[0]
        if kind == ROUTING and final is None:
            final = _final_destination(header)
        elif kind == DESTINATION and home is None:
            home = _home_address(header)
        elif kind == FRAGMENT:
            position, identity = struct.unpack_from(">2xHI", header)
            fragment = (position & 0xFFF8, bool(position & 1), identity)
        at += size
    return Chain(following, at, kind, home or source, final or destination, fragment)


def _size(kind: int, units: int) -> int:
    if kind in (FRAGMENT, ESP):
        return 8
    return 8 + units * (4 if kind == AUTHENTICATION else 8)


def _final_destination(header: bytes) -> bytes | None:
    units, kind, left = header[1], header[2], header[3]
    if left and ((kind == 0 and units >= 2 and units % 2 == 0) or (kind == 2 and units == 2)):
        return header[-16:]
    return None


def _home_address(header: bytes) -> bytes | None:
    at = 2
    while at < len(header):
        if header[at] == 0:
            at += 1
            continue
        if at + 2 > len(header) or at + 2 + header[at + 1] > len(header):
            return None
        if header[at] == 201 and header[at + 1] == 16:
            return header[at + 2 : at + 18]
        at += 2 + header[at + 1]
    return None
