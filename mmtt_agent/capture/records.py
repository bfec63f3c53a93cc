"""Pieces of a capture: bytes, and where in them the packets are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Bytes read at a time: so few that they stay in a processor's cache while they are decoded.
PIECE = 2 << 20
#: Zero bytes after the end of a block's buffer, so that a header can be gathered from any record.
PADDING = 256
#: Longest record that libpcap, and so Zeek, accepts.
MAX_RECORD = 262_144
#: Seconds from 1970, 100,000 years: no packet's time is taken to be further off. What comes of it fits 64 bits.
LONGEST_TIME = 100_000 * 31_556_952
#: Stands for such a time.
IMPOSSIBLE = np.iinfo(np.int64).min


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
        time: int64 ``(n,)``, microseconds since the epoch, or :data:`IMPOSSIBLE`.
        linktype: int32 ``(n,)``.
        wraps: the file has times of 32 bits, which are negative from 2038-01-19 on.
        trusted: bool ``(n,)``, checksums that are not to be checked: the kernel, or the network card, has found them
            right, or has yet to fill them in. None: all are to be checked.
    """

    data: np.ndarray
    start: np.ndarray
    captured: np.ndarray
    wire: np.ndarray
    time: np.ndarray
    linktype: np.ndarray
    wraps: bool = False
    trusted: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, pick: np.ndarray) -> Records:
        return Records(
            self.data,
            self.start[pick],
            self.captured[pick],
            self.wire[pick],
            self.time[pick],
            self.linktype[pick],
            self.wraps,
            None if self.trusted is None else self.trusted[pick],
        )


def rows(data: np.ndarray, at: np.ndarray, width: int) -> np.ndarray:
    """The ``width`` bytes from each offset: uint8 ``(n, width)``."""
    # One item per offset: they overlap, and are copied as wholes.
    items = np.ndarray(len(data) - width + 1, f"V{width}", data, strides=1)
    found: np.ndarray = items[at].view(np.uint8).reshape(len(at), width)
    return found
