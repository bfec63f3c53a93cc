"""Blocks of a TPACKET_V3 ring to :class:`Records`: the kernel's structures, as they lie in memory."""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture.records import PADDING, Records, rows

# tpacket_block_desc, of 32-bit words: version, offset of private data, status, packets, offset of the first one, bytes
# in use; then a number and times that nothing is made of.
BLOCK_STATUS, _PACKETS, _FIRST, _USED = 2, 3, 4, 5
BLOCK_HEADER = 48
#: A block that is the reader's; 0 gives it back.
READY = 1
# tpacket3_hdr, likewise: bytes to the next packet (0 after the last), seconds, nanoseconds, captured, on the wire,
# status, and in halves where the link header and the network header begin. Packets stand at multiples of 8.
_SECONDS, _NANOSECONDS, _CAPTURED, _WIRE, _STATUS, _BEGINS = 1, 2, 3, 4, 5, 6
#: The checksum is to be filled in by the network card; the kernel or the card has found it right.
_TRUSTED = 1 << 3 | 1 << 7


class Blocks:
    """Copies blocks into one buffer, one after the other, so that they can be given back at once.

    Args:
        room: bytes of the buffer, no fewer than a block.
        linktype: of all packets.
    """

    def __init__(self, room: int, linktype: int) -> None:
        self._buffer = np.zeros(room + PADDING, np.uint8)
        self._words = memoryview(self._buffer).cast("B")[: room // 4 * 4].cast("I")  # type: ignore[arg-type] # numpy's
        self._room = room
        self._linktype = linktype
        self._end = 0
        self._starts: list[int] = []

    def add(self, block: np.ndarray) -> bool:
        """Take a block, uint8, in; False where there is no room for it beside the others."""
        _, _, _, packets, first, used = block[:24].view(np.uint32).tolist()
        begin = self._end
        if begin + used > self._room:
            return False
        self._buffer[begin : begin + used] = block[:used]
        words, add, at = self._words, self._starts.append, begin + first
        # The one loop over packets: no more in it than must be.
        for _ in range(packets):
            add(at)
            at += words[at >> 2]
        self._end = begin + used + 7 & ~7
        return True

    def records(self) -> Records | None:
        """The packets of the blocks that were added, valid until the next is; None if there are none."""
        starts, end = self._starts, self._end
        self._starts, self._end = [], 0
        if not starts:
            return None
        self._buffer[end : end + PADDING] = 0
        data = self._buffer[: end + PADDING]
        at = np.array(starts, np.int64)
        header = rows(data, at, 28).view(np.uint32)
        return Records(
            data=data,
            start=at + (header[:, _BEGINS].copy().view(np.uint16)[::2]),
            captured=header[:, _CAPTURED].astype(np.int64),
            wire=header[:, _WIRE].astype(np.int64),
            time=header[:, _SECONDS].astype(np.int64) * 1_000_000 + header[:, _NANOSECONDS] // 1000,
            linktype=np.full(len(at), self._linktype, np.int32),
            trusted=header[:, _STATUS] & _TRUSTED != 0,
        )
