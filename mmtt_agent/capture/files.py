"""Capture files to blocks of records: pcap and pcapng, plain, gzip or zstd, from a path or a stream.

A file is read in pieces of some megabytes; what the whole file needs is kept by the caller as compact columns.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import zstandard

#: Bytes read at a time: so few that they stay in a processor's cache while they are decoded.
PIECE = 2 << 20
#: Bytes asked of a gzip stream at once.
_GZIP_STEP = 1 << 17
#: Zero bytes after the end of a block's buffer, so that a header can be gathered from any record.
PADDING = 256
#: Longest record that libpcap, and so Zeek, accepts.
MAX_RECORD = 262_144
#: Longest pcapng block taken for real.
MAX_BLOCK = 64 << 20

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


class CaptureError(Exception):
    """A capture can't be read; the text is one line that names the file, the place and the remedy."""


@dataclass(slots=True)
class Records:
    """A piece of a capture: its bytes, and where in them the packets are.

    Attributes:
        data: uint8, followed by :data:`PADDING` zero bytes.
        start: int64 ``(n,)``, offset of the packet's first byte in ``data``.
        captured: int64 ``(n,)``, bytes captured.
        wire: int64 ``(n,)``, bytes it had on the wire.
        time: int64 ``(n,)``, microseconds since the epoch.
        linktype: int32 ``(n,)``.
    """

    data: np.ndarray
    start: np.ndarray
    captured: np.ndarray
    wire: np.ndarray
    time: np.ndarray
    linktype: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


def rows(data: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """The ``width`` bytes from each offset: uint8 ``(n, width)``."""
    # One item per offset: they overlap, and are copied as wholes.
    items = np.ndarray(len(data) - width + 1, f"V{width}", data, strides=1)
    return items[at].view(np.uint8).reshape(len(at), width)


class CaptureFile:
    """An open capture, iterated over as :class:`Records`.

    Attributes:
        bytes_read: bytes taken from the file so far (compressed ones, if it is).
        warnings: what the user should know about the file, one line each.
        counts: packets left out, by cause.
    """

    def __init__(self, source, name: str | None = None):
        """Open a path or a binary stream.

        Raises:
            CaptureError: it can't be opened, is empty or isn't a capture.
        """
        self.warnings: list[str] = []
        self.counts: dict[str, int] = {}
        self._owned = None
        if hasattr(source, "read"):
            self.name = name or str(getattr(source, "name", "standard input"))
            raw = source
        else:
            self.name = name or os.fspath(source)
            try:
                raw = self._owned = open(source, "rb")
            except OSError as error:
                raise CaptureError(f"{self.name}: can't be opened: {error.strerror}; check the path") from None
        self._raw = _Counted(raw)
        try:
            self._stream, self._wrapping = self._unwrap(self._raw)
            self._magic = self._take(4)
        except BaseException:
            self.close()
            raise
        self._offset = 0

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        if self._owned is not None:
            self._owned.close()

    @property
    def bytes_read(self) -> int:
        return self._raw.total

    def __iter__(self) -> Iterator[Records]:
        """Iterate over the packets, some megabytes at a time.

        Raises:
            CaptureError: not a capture, or damaged in the middle.
        """
        if not self._magic:
            raise CaptureError(f"{self.name}: empty (0 bytes{self._wrapping}); record it again")
        if self._magic == PCAPNG_MAGIC:
            return _Pcapng(self).blocks()
        if (layout := _PCAP_LAYOUTS.get(self._magic)) is not None:
            return _Pcap(self, *layout).blocks()
        if len(self._magic) < 4:
            raise CaptureError(f"{self.name}: ends after {len(self._magic)} bytes{self._wrapping}; record it again")
        raise CaptureError(
            f"{self.name}: not a capture: starts with {self._magic.hex(' ')}{self._wrapping}; "
            "give a pcap or pcapng file, plain, .gz or .zst"
        )

    def _unwrap(self, raw) -> tuple:
        """The stream of the capture itself, and how to speak of its being compressed."""
        magic = raw.peek(4)
        if magic[:2] == GZIP_MAGIC:
            return gzip.GzipFile(fileobj=raw, mode="rb"), " of decompressed data"
        if magic == ZSTD_MAGIC:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(raw, read_across_frames=True)
            return reader, " of decompressed data"
        return raw, ""

    def _take(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        while size > 0:
            try:
                if isinstance(self._stream, gzip.GzipFile):
                    # If the stream ends early, `read` would lose what it has got before the end.
                    part = self._stream.read1(min(size, _GZIP_STEP))
                else:
                    part = self._stream.read(size)
            except EOFError:
                self.counts["truncated_tail"] = 1
                self.warnings.append(f"{self.name}: the compressed data ends early; the packets before that were read")
                self._stream = io.BytesIO()
                break
            except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
                raise CaptureError(
                    f"{self.name}: the compressed data is damaged near byte {self._raw.total}: {error}; "
                    "copy the file again"
                ) from None
            except OSError as error:
                raise CaptureError(f"{self.name}: can't be read: {error.strerror or error}") from None
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def damaged(self, at: int, what: str) -> CaptureError:
        return CaptureError(
            f"{self.name}: damaged at byte {at}{self._wrapping}: {what}; keep what is before it with: head -c {at}"
        )

    def truncated(self, at: int) -> None:
        self.counts["truncated_tail"] = 1
        if not self.warnings:
            self.warnings.append(
                f"{self.name}: ends in the middle of the packet at byte {at}{self._wrapping}; "
                "the packets before it were read"
            )

    def skipped(self, cause: str, packets: int) -> None:
        if packets:
            self.counts[cause] = self.counts.get(cause, 0) + int(packets)


class _Counted(io.RawIOBase):
    """A stream that counts what is read from it and lets one look at its start."""

    def __init__(self, raw):
        self._raw = raw
        self._head = b""
        self.total = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (part := self._raw.read(size - len(self._head))):
            self._head += part
        return self._head[:size]

    def read(self, size: int = -1) -> bytes:
        if self._head and size != 0:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        else:
            data = self._raw.read(size) or b""
        self.total += len(data)
        return data

    def readinto(self, buffer) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _pad(buffer: bytes) -> np.ndarray:
    return np.frombuffer(buffer + bytes(PADDING), np.uint8)


# Magic -> byte order, fractions of a second, size of a record's header (24: Kuznetzov's variant).
_PCAP_LAYOUTS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000, 16),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000, 16),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000, 16),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000, 16),
    b"\x34\xcd\xb2\xa1": ("<", 1_000_000, 24),
    b"\xa1\xb2\xcd\x34": (">", 1_000_000, 24),
}


class _Pcap:
    """Walks the records of a pcap file."""

    def __init__(self, file: CaptureFile, order: str, resolution: int, header: int):
        self.file, self.order, self.resolution, self.header = file, order, resolution, header

    def blocks(self) -> Iterator[Records]:
        file, header = self.file, self.header
        rest = file._take(20)
        if len(rest) < 20:
            raise CaptureError(
                f"{file.name}: ends inside the file header, at byte {4 + len(rest)}{file._wrapping}; record it again"
            )
        snaplen, network = struct.unpack_from(self.order + "II", rest, 12)
        # The upper bits of the link type field say whether frames end in a checksum.
        linktype = network & 0x03FFFFFF
        self.snaplen = snaplen if 0 < snaplen < 1 << 31 else MAX_RECORD
        offset, carry = 24, b""
        captured_at = struct.Struct(self.order + "I").unpack_from
        while True:
            piece = file._take(PIECE)
            buffer = b"".join((carry, piece, bytes(PADDING)))
            end = len(buffer) - PADDING
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
                raise file.damaged(offset + at, f"a packet of {size} bytes (at most {MAX_RECORD} are possible)")
            offset += at
            carry = buffer[at:end]
            if not piece:
                break
        if carry:
            file.truncated(offset)

    def _records(self, buffer: bytes, starts: list[int], linktype: int) -> Records:
        data = np.frombuffer(buffer, np.uint8)
        at = np.array(starts, np.int64)
        fields = rows(data, at, 16).view(self.order + "u4").astype(np.int64)
        per_microsecond = self.resolution // 1_000_000
        # Seconds and their fractions are signed for libpcap.
        seconds, fraction = fields[:, 0].astype(np.int32).astype(np.int64), fields[:, 1].astype(np.int32)
        return Records(
            data=data,
            start=at + self.header,
            captured=np.minimum(fields[:, 2], self.snaplen),
            wire=fields[:, 3],
            time=seconds * 1_000_000 + np.trunc(fraction / per_microsecond).astype(np.int64),
            linktype=np.full(len(at), linktype, np.int32),
        )


@dataclass(slots=True)
class _Interface:
    linktype: int
    snaplen: int
    #: Timestamp units per second, and seconds to add.
    resolution: int = 1_000_000
    offset: int = 0


class _Pcapng:
    """Walks the blocks of a pcapng file."""

    def __init__(self, file: CaptureFile):
        self.file = file
        self.interfaces: list[_Interface] = []
        self.first_interface = 0
        self.order = "<"
        self.last_time = 0

    def blocks(self) -> Iterator[Records]:
        file = self.file
        offset, carry = 0, file._magic
        first = True
        while True:
            piece = file._take(PIECE)
            buffer = carry + piece
            used, found, problem = self._walk(buffer, offset)
            if first and used == 0 and not problem and not piece:
                raise CaptureError(
                    f"{file.name}: ends inside the section header, at byte {len(buffer)}{file._wrapping}; "
                    "record it again"
                )
            first &= used == 0
            if found:
                yield from self._records(buffer, found)
            if problem:
                raise problem
            offset += used
            carry = buffer[used:]
            if not piece:
                break
        if carry:
            file.truncated(offset)

    def _walk(self, buffer: bytes, offset: int) -> tuple[int, list, CaptureError | None]:
        """Find the packets: bytes used, ``(at, kind, byte order, first interface)`` of each, and what stopped it."""
        found: list[tuple[int, int, str, int]] = []
        at, end = 0, len(buffer)
        head = struct.Struct(self.order + "II").unpack_from
        while at + 12 <= end:
            kind, size = head(buffer, at)
            if kind == 0x0A0D0D0A:
                magic = buffer[at + 8 : at + 12]
                order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic)
                if order is None:
                    return at, found, self.file.damaged(offset + at, "a section of unknown byte order")
                self.order = order
                head = struct.Struct(order + "II").unpack_from
                kind, size = head(buffer, at)
                self.first_interface = len(self.interfaces)
            if size < 12 or size > MAX_BLOCK:
                return at, found, self.file.damaged(offset + at, f"a block of {size} bytes")
            # Blocks are padded to four bytes; some writers leave the padding out of the length.
            following = at + (size + 3 & ~3)
            if following > end:
                break
            if kind in (6, 3, 2):
                found.append((at, kind, self.order, self.first_interface))
            elif kind == 1:
                self._interface(buffer, at, size)
            at = following
        return at, found, None

    def _interface(self, buffer: bytes, at: int, size: int) -> None:
        if size < 20:
            return
        linktype, _, snaplen = struct.unpack_from(self.order + "HHI", buffer, at + 8)
        interface = _Interface(linktype, snaplen)
        option, end = at + 16, at + size - 4
        while option + 4 <= end:
            code, length = struct.unpack_from(self.order + "HH", buffer, option)
            value = buffer[option + 4 : option + 4 + length]
            if code == 0:
                break
            if code == 9 and length >= 1:
                power = value[0] & 0x7F
                if power < 64:
                    interface.resolution = 2**power if value[0] & 0x80 else 10 ** min(power, 18)
            elif code == 14 and length >= 8:
                (interface.offset,) = struct.unpack_from(self.order + "q", value)
            option += 4 + (length + 3 & ~3)
        self.interfaces.append(interface)

    def _records(self, buffer: bytes, found: list) -> Iterator[Records]:
        data = _pad(buffer)
        at = np.array([f[0] for f in found], np.int64)
        kind = np.array([f[1] for f in found], np.int64)
        big = np.array([f[2] == ">" for f in found], bool)
        first = np.array([f[3] for f in found], np.int64)
        words = rows(data, at, 28)
        values = np.where(big[:, None], words.view(">u4"), words.view("<u4")).astype(np.int64)
        number = values[:, 2]
        if (old := kind == 2).any():
            # The obsolete packet block: a 16-bit interface number and a count of drops.
            halves = words[:, 8:10].copy()
            number = np.where(old, np.where(big, halves.view(">u2")[:, 0], halves.view("<u2")[:, 0]), number)
        simple = kind == 3
        number = np.where(simple, 0, number) + first
        start = np.where(simple, at + 12, at + 28)
        captured = np.where(simple, values[:, 2], values[:, 5])
        wire = np.where(simple, values[:, 2], values[:, 6])
        room = at + values[:, 1] - 4 - start
        count = len(self.interfaces)
        # Interfaces are only ever appended, so a number is out of range only if its section lacks it.
        bad = number >= count
        if bad.any():
            self.file.skipped("no_interface", bad.sum())
        known = np.minimum(number, max(count - 1, 0))
        if count:
            linktype = np.array([i.linktype for i in self.interfaces], np.int32)[known]
            snaplen = np.array([i.snaplen or MAX_RECORD for i in self.interfaces], np.int64)[known]
            captured = np.where(simple, np.minimum(captured, snaplen), captured)
            time = self._times((values[:, 3] << 32) | values[:, 4], known)
        else:
            linktype = np.zeros(len(at), np.int32)
            time = np.zeros(len(at), np.int64)
        captured = np.where(simple, np.minimum(captured, room), captured)
        broken = captured > room
        if broken.any():
            self.file.skipped("damaged_block", (broken & ~bad).sum())
        keep = ~bad & ~broken
        if simple.any():
            # A simple packet block has no time: that of the packet before it stands in.
            order = np.maximum.accumulate(np.where(simple, -1, np.arange(len(at))))
            time = np.where(order < 0, self.last_time, time[np.maximum(order, 0)])
        if keep.any():
            self.last_time = int(time[keep][-1])
            yield Records(data, start[keep], captured[keep], wire[keep], time[keep], linktype[keep])

    def _times(self, ticks: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Microseconds since the epoch from an interface's ticks."""
        time = np.zeros(len(ticks), np.int64)
        for index in np.unique(number):
            interface, of = self.interfaces[index], number == index
            ticks_of = ticks[of].astype(np.uint64)
            resolution = np.uint64(interface.resolution)
            if interface.resolution <= 10**12:
                fraction = (ticks_of % resolution).astype(np.float64) * 1e6 / float(interface.resolution)
                seconds = (ticks_of // resolution).astype(np.int64) + interface.offset
                time[of] = seconds * 1_000_000 + fraction.astype(np.int64)
            else:
                time[of] = (ticks_of // np.uint64(max(interface.resolution // 1_000_000, 1))).astype(np.int64)
                time[of] += interface.offset * 1_000_000
        return time
