"""A capture again and again, as long a one as is wanted; and in parts, as a rotation leaves it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD = 24


def packets(capture: bytes) -> Iterator[tuple[int, bytes]]:
    """Seconds, and the rest of the record, of the packets of a little-endian pcap file."""
    at = _HEAD
    while at < len(capture):
        seconds, _, size, _ = struct.unpack_from("<IIII", capture, at)
        yield seconds, capture[at + 4 : at + 16 + size]
        at += 16 + size


def repeated(capture: bytes, times: int, apart: int = 1000) -> bytes:
    """It one time after the other, so many seconds apart."""
    out = [capture[:_HEAD]]
    for time in range(times):
        out += [struct.pack("<I", seconds + time * apart) + rest for seconds, rest in packets(capture)]
    return b"".join(out)


def parts(capture: bytes, number: int) -> list[bytes]:
    """It in so many captures, of as many packets each."""
    all_packets = [*packets(capture)]
    each = -(-len(all_packets) // number)
    return [
        capture[:_HEAD]
        + b"".join(struct.pack("<I", seconds) + rest for seconds, rest in all_packets[start : start + each])
        for start in range(0, len(all_packets), each)
    ]
