"""pcapng files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .records import IMPOSSIBLE, LONGEST_TIME, MAX_RECORD, PADDING, PIECE, Records, rows

if TYPE_CHECKING:
    from .files import CaptureFile

#: Longest pcapng block taken for real.
MAX_BLOCK = 64 << 20
#: Of an interface that doesn't say its own: no link type has this number.
_NO_LINKTYPE = 0xFFFF
_TWO_LENGTHS = "a block that ends with another length than it begins with"


def _pad(buffer: bytes) -> np.ndarray:
    return np.frombuffer(buffer + bytes(PADDING), np.uint8)


#: Of a packet: where its block is, the block's kind, its byte order, the section's first interface, and how many
#: interfaces had been described before it.
Place = tuple[int, int, str, int, int]


@dataclass(slots=True)
class _Interface:
    linktype: int
    snaplen: int
    #: Timestamp units per second, and seconds to add.
    resolution: int = 1_000_000
    offset: int = 0


class Pcapng:
    """Walks the blocks of a pcapng file."""

    def __init__(self, file: CaptureFile):
        self.file = file
        self.interfaces: list[_Interface] = []
        self.first_interface = 0
        self.order = "<"
        self.last_time = 0
        #: The first packet block whose length at its end is another than at its start, in the piece at hand.
        self._broken: tuple[int, str] | None = None

    def blocks(self) -> Iterator[Records]:
        file = self.file
        offset, carry = 0, file.magic
        first = True
        while True:
            buffer = file.take(PIECE, carry)
            more = len(buffer) > len(carry)
            used, found, problem = self._walk(buffer)
            if first and used == 0:
                if problem:
                    raise file.too_short(f"{problem[1]}, at byte 0{file.wrapping}; copy the file again")
                if not more:
                    raise file.too_short(
                        f"ends inside the section header, at byte {len(buffer)}{file.wrapping}; record it again"
                    )
            first &= used == 0
            if found:
                yield from self._records(buffer, found, offset)
                problem = self._broken or problem
            if problem:
                file.damaged(offset + problem[0], problem[1])
                return
            offset += used
            carry = buffer[used:]
            if not more:
                break
        if carry:
            file.truncated(offset)

    def _walk(self, buffer: bytes) -> tuple[int, list[Place], tuple[int, str] | None]:
        """Find the packets: bytes used, each one's place, and what stopped it: where, and what is wrong there."""
        found: list[Place] = []
        at, end = 0, len(buffer)
        head = struct.Struct(self.order + "II").unpack_from
        while at + 12 <= end:
            kind, size = head(buffer, at)
            if kind == 0x0A0D0D0A:
                magic = buffer[at + 8 : at + 12]
                order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic)
                if order is None:
                    return at, found, (at, "a section of unknown byte order")
                self.order = order
                head = struct.Struct(order + "II").unpack_from
                kind, size = head(buffer, at)
                self.first_interface = len(self.interfaces)
            if size < 12 or size > MAX_BLOCK:
                return at, found, (at, f"a block of {size} bytes")
            # Blocks are padded to four bytes; some writers leave the padding out of the length.
            following = at + (size + 3 & ~3)
            if following > end:
                break
            if kind in (6, 3, 2):
                found.append((at, kind, self.order, self.first_interface, len(self.interfaces)))
            elif buffer[at + 4 : at + 8] not in (buffer[at + size - 4 : at + size], buffer[following - 4 : following]):
                return at, found, (at, _TWO_LENGTHS)
            elif kind == 1:
                self._interface(buffer, at, size)
            at = following
        return at, found, None

    def _interface(self, buffer: bytes, at: int, size: int) -> None:
        # Too short a block still says the link type, which is all that Zeek needs of it, too.
        linktype, _, snaplen = struct.unpack_from(self.order + "HHI", buffer, at + 8)
        interface = _Interface(linktype if size >= 16 else _NO_LINKTYPE, snaplen if size >= 20 else 0)
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

    def _records(self, buffer: bytes, found: list[Place], offset: int) -> Iterator[Records]:
        data = _pad(buffer)
        at = np.array([f[0] for f in found], np.int64)
        kind = np.array([f[1] for f in found], np.int64)
        big = np.array([f[2] == ">" for f in found], bool)
        first = np.array([f[3] for f in found], np.int64)
        words = rows(data, at, 28)
        values = np.where(big[:, None], words.view(">u4"), words.view("<u4")).astype(np.int64)
        # The length once more, after the padding or, of those that leave it out of the length, before it.
        begin, size = words.view("<u4")[:, 1], values[:, 1]
        differs = begin != rows(data, at + size - 4, 4).view("<u4")[:, 0]
        if differs.any():
            differs &= begin != rows(data, at + (size + 3 & ~3) - 4, 4).view("<u4")[:, 0]
        if differs.any():
            # libpcap, and so Zeek, reads no further.
            whole = int(differs.argmax())
            if whole:
                yield from self._records(buffer, found[:whole], offset)
            self._broken = int(at[whole]), _TWO_LENGTHS
            return
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
        bad = number >= np.array([f[4] for f in found], np.int64)
        if bad.any():
            self.file.no_interface(offset + int(at[bad][0]), (number - first)[bad])
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
        # libpcap, and so Zeek, goes on with what there is of it.
        broken = (captured > room) & ~bad
        keep = ~bad & (room >= 0)
        if broken.any():
            lost = int(np.count_nonzero(broken & ~keep))
            self.file.too_long(offset + int(at[broken][0]), int(np.count_nonzero(broken)), lost)
            captured = np.minimum(captured, room)
        if simple.any():
            # A simple packet block has no time: that of the packet before it stands in.
            order = np.maximum.accumulate(np.where(simple, -1, np.arange(len(at))))
            time = np.where(order < 0, self.last_time, time[np.maximum(order, 0)])
        if keep.any():
            self.last_time = int(time[keep][-1])
            yield Records(data, start[keep], captured[keep], wire[keep], time[keep], linktype[keep])

    def _times(self, ticks: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Microseconds since the epoch from an interface's ticks."""
        time = np.full(len(ticks), IMPOSSIBLE)
        for index in np.unique(number):
            interface = self.interfaces[index]
            per_second = np.uint64(interface.resolution)
            whole = ticks.astype(np.uint64) // per_second
            # What is told of those that would not fit is that they can't be.
            of = (number == index) & (np.abs(whole.astype(np.float64) + interface.offset) <= LONGEST_TIME)
            if not of.any():
                continue
            ticks_of = ticks[of].astype(np.uint64)
            if interface.resolution <= 10**12:
                fraction = (ticks_of % per_second).astype(np.float64) * 1e6 / float(interface.resolution)
                seconds = whole[of].astype(np.int64) + interface.offset
                time[of] = seconds * 1_000_000 + fraction.astype(np.int64)
            else:
                time[of] = (ticks_of // np.uint64(max(interface.resolution // 1_000_000, 1))).astype(np.int64)
                time[of] += interface.offset * 1_000_000
        return time
