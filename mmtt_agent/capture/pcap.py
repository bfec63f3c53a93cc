"""pcap files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .records import MAX_RECORD, PADDING, PIECE, Records, rows

if TYPE_CHECKING:
    from .files import CaptureFile

# Magic -> byte order, fractions of a second, size of a record's header (24: Kuznetzov's variant).
LAYOUTS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1_000_000, 24),
    b"\xa1\xb2\xcd\x34": (">", 1_000_000, 24),
}


class Pcap:
    """Walks the records of a pcap file."""

    def __init__(self, file: CaptureFile, order: str, resolution: int, header: int):
        self.file, self.order, self.resolution, self.header = file, order, resolution, header

    def blocks(self) -> Iterator[Records]:
        file, header = self.file, self.header
        rest = file.take(20)
        if len(rest) < 20:
            raise file.too_short(
                f"ends inside the file header, at byte {4 + len(rest)}{file.wrapping}; record it again"
            )
        snaplen, network = struct.unpack_from(self.order + "II", rest, 12)
        # The upper bits of the link type field say whether frames end in a checksum.
        linktype = network & 0x03FFFFFF
        self.snaplen = snaplen if 0 < snaplen < 1 << 31 else MAX_RECORD
        offset, carry = 24, b""
        captured_at = struct.Struct(self.order + "I").unpack_from
        while True:
            buffer = file.take(PIECE, carry, bytes(PADDING))
            end = len(buffer) - PADDING
            more = end > len(carry)
            starts: list[int] = []
            add = starts.append
            at, last, size = 0, end - header, 0
            # The one loop over packets in all of the reader: no more in it than must be.
            while at <= last:
                (size,) = captured_at(buffer, at + 8)
                if size > MAX_RECORD:
                    break
                add(at)
                at += header + size
            if at > end:
                at = starts.pop()
            if starts:
                yield self._records(buffer, starts, linktype)
            if size > MAX_RECORD:
                file.damaged(offset + at, f"a packet of {size} bytes (at most {MAX_RECORD} are possible)")
                return
            offset += at
            carry = buffer[at:end]
            if not more:
                break
        if carry:
            file.truncated(offset)

    def _records(self, buffer: bytes, starts: list[int], linktype: int) -> Records:
        data = np.frombuffer(buffer, np.uint8)
        at = np.array(starts, np.int64)
        fields = rows(data, at, 16).view(self.order + "u4").astype(np.int64)
        per_microsecond = self.resolution // 1_000_000
        # Seconds and their fractions are signed for libpcap, and so for Zeek.
        seconds, fraction = fields[:, 0].astype(np.int32).astype(np.int64), fields[:, 1].astype(np.int32)
        return Records(
            data=data,
            start=at + self.header,
            captured=np.minimum(fields[:, 2], self.snaplen),
            wire=fields[:, 3],
            time=seconds * 1_000_000 + np.trunc(fraction / per_microsecond).astype(np.int64),
            linktype=np.full(len(at), linktype, np.int32),
            wraps=True,
        )
