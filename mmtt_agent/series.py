"""The series: signed payload sizes and times of a connection's packets, cut into windows.

This is the one contract between Zeek's scripts, the capture reader, the agent, and training.
A window is cut from a stretch of :data:`WINDOW_SPAN` consecutive packets of a connection, counted from 1
and counting packets without payload too. It holds the first :data:`MAX_PAYLOAD_PACKETS` packets of the
stretch that carry payload and that come at most :data:`MAX_WAIT_US` after the first of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Packet counts of a connection (1-based) at which window 0, 1, 2, 3 begins.
WINDOW_STARTS = (1, 257, 2049, 16385)
#: Packets of a connection that a window is cut from, with or without payload.
WINDOW_SPAN = 64
#: Most payload packets a window holds.
MAX_PAYLOAD_PACKETS = 32
#: Longest a window lasts after its first payload packet, in microseconds (``MMTT::max_wait``).
MAX_WAIT_US = 60_000_000
#: Fewest payload packets a verdict is given on (``MMTT::min_packets``).
MIN_PACKETS = 4
#: Largest magnitude of a size: no IP packet carries more payload.
MAX_SIZE = 65_535


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """A batch of windows as arrays; everything past a row's length is zero.

    Attributes:
        sizes: int32 ``(n, 32)``, payload bytes; positive from the originator, negative from the responder.
        times: int32 ``(n, 32)``, microseconds since the row's first payload packet, never decreasing.
        lengths: int32 ``(n,)``, payload packets in the row, 0 to 32.
    """

    sizes: np.ndarray
    times: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> SeriesBatch:
        """The batch of the given rows (a slice, an index array or a mask)."""
        return SeriesBatch(self.sizes[rows], self.times[rows], self.lengths[rows])

    def payload(self) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of payload from the originator and from the responder: int64 ``(n,)`` each."""
        sizes = self.sizes.astype(np.int64)
        return sizes.clip(min=0).sum(axis=1), -sizes.clip(max=0).sum(axis=1)

    def first(self, packets: int) -> SeriesBatch:
        """The windows as they were when they had at most so many packets."""
        seen = np.arange(self.sizes.shape[1]) < packets
        return SeriesBatch(self.sizes * seen, self.times * seen, np.minimum(self.lengths, packets))

    def without_first(self, packets: int) -> SeriesBatch:
        """The windows as they would be had the capture begun after so many of their packets."""
        filled = np.arange(self.sizes.shape[1])[packets:] < self.lengths[:, None]
        kept = ((0, 0), (0, self.sizes.shape[1] - filled.shape[1]))
        times = np.where(filled, self.times[:, packets:] - self.times[:, packets, None], 0)
        return SeriesBatch(np.pad(self.sizes[:, packets:], kept), np.pad(times, kept), (self.lengths - packets).clip(0))

    @classmethod
    def empty(cls) -> SeriesBatch:
        return cls.from_lists([], [])

    @classmethod
    def from_lists(cls, sizes: list[list[int]], times: list[list[int]]) -> SeriesBatch:
        """Pack lists of equal lengths per row into a batch.

        Raises:
            ValueError: a row's sizes and times differ in length, or it has more than 32 packets.
        """
        lengths = np.fromiter(map(len, sizes), np.int32, len(sizes))
        if len(times) != len(sizes) or any(len(t) != n for t, n in zip(times, lengths, strict=True)):
            raise ValueError("sizes and times must have the same lengths")
        if len(lengths) and lengths.max() > MAX_PAYLOAD_PACKETS:
            raise ValueError(f"a window holds at most {MAX_PAYLOAD_PACKETS} payload packets")
        filled = np.arange(MAX_PAYLOAD_PACKETS) < lengths[:, None]
        packed_sizes = np.zeros(filled.shape, np.int32)
        packed_times = np.zeros(filled.shape, np.int32)
        packed_sizes[filled] = [value for row in sizes for value in row]
        packed_times[filled] = [value for row in times for value in row]
        return cls(packed_sizes, packed_times, lengths)

    @classmethod
    def concatenate(cls, batches: list[SeriesBatch]) -> SeriesBatch:
        """One batch of all rows, in order."""
        if not batches:
            return cls.empty()
        return cls(
            np.concatenate([b.sizes for b in batches]),
            np.concatenate([b.times for b in batches]),
            np.concatenate([b.lengths for b in batches]),
        )
