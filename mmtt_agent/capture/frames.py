"""Packets on their way through the layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(slots=True)
class Frames:
    """Packets at one layer: int64 arrays of equal length, all offsets in the same buffer.

    Attributes:
        row: the record it came in.
        at: offset of the layer's header.
        end: offset of the end of what the layers above left to look at.
        captured: offset of the end of what was captured of the packet.
        wire: where the packet would end had it been captured in full.
    """

    row: np.ndarray
    at: np.ndarray
    end: np.ndarray
    captured: np.ndarray
    wire: np.ndarray
    tunnels: int = 0

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, pick: slice | np.ndarray) -> Frames:
        return Frames(self.row[pick], self.at[pick], self.end[pick], self.captured[pick], self.wire[pick], self.tunnels)

    def skip(self, size: int | np.ndarray) -> Frames:
        """The layer that begins `size` bytes further on."""
        return Frames(self.row, self.at + size, self.end, self.captured, self.wire, self.tunnels)

    def until(self, end: np.ndarray) -> Frames:
        return Frames(self.row, self.at, end, self.captured, self.wire, self.tunnels)


def u16(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The big-endian 16-bit numbers at each offset."""
    found: np.ndarray = data[at].astype(np.uint16) << 8 | data[at + 1]
    return found
