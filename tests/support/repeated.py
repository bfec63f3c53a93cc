"""A capture again and again, as long a one as is wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD = 24


def packets(capture: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Seconds, microseconds and bytes of the packets of a little-endian pcap file that has them whole."""
    at = _HEAD
    while at < len(capture):
        seconds, microseconds, size, _ = struct.unpack_from("<IIII", capture, at)
        yield seconds, microseconds, capture[at + 16 : at + 16 + size]
        at += 16 + size


def repeated(capture: bytes, times: int, apart: int = 1000) -> bytes:
    """It one time after the other, so many seconds apart."""
    out = [capture[:_HEAD]]
    for time in range(times):
        for seconds, microseconds, data in packets(capture):
            out.append(struct.pack("<IIII", seconds + time * apart, microseconds, len(data), len(data)) + data)
    return b"".join(out)
