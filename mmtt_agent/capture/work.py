"""The work to be done on a block of packets: layers still to be decoded, and what has been counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import SupportsInt

import numpy as np

from mmtt_agent.capture import names
from mmtt_agent.capture.addresses import Addresses
from mmtt_agent.capture.fragments import Fragments
from mmtt_agent.capture.frames import Frames
from mmtt_agent.capture.segments import Segments

#: Decodes packets of one layer: the work, the buffer, the packets, and how many layers were before.
Layer = Callable[["Work", np.ndarray, Frames, int], None]


class Work:
    """What the layers share.

    Attributes:
        checked: leave out packets with a wrong checksum.
        counts: packets left out, by cause.
        kinds: of some causes, packets by kind.
        addresses: what addresses' numbers stand for.
        fragments: what has come of packets in pieces.
        clock: int64, network time of each of the block's records, microseconds.
        trusted: bool, of each of the block's records, that its checksums are not to be checked; None: all are.
        queue: packets that are still to be decoded: the layer's name, their buffer, they, and the layers before.
        parts: segments found in the block so far, with the tunnels they were in.
    """

    def __init__(self, checked: bool, most_fragments: int | None = None):
        self.checked = checked
        self.counts: dict[str, int] = {}
        self.kinds: dict[str, Counter[str]] = {}
        self.addresses = Addresses()
        self.fragments = Fragments(most_fragments)
        self.clock = np.zeros(0, np.int64)
        self.trusted: np.ndarray | None = None
        self.queue: deque[tuple[str, np.ndarray, Frames, int]] = deque()
        self.parts: list[tuple[int, Segments]] = []

    def count(self, cause: str, packets: SupportsInt, kind: str | None = None) -> None:
        """Note that packets are left out."""
        if number := int(packets):
            self.counts[cause] = self.counts.get(cause, 0) + number
            if kind is not None:
                self.kinds.setdefault(cause, Counter())[kind] += number

    def trusts(self, frames: Frames) -> np.ndarray:
        """Which packets' checksums are not to be checked: bool ``(n,)``."""
        if self.trusted is None or not self.checked:
            return np.full(len(frames), not self.checked)
        found: np.ndarray = self.trusted[frames.row]
        return found

    def push(self, layer: str, data: np.ndarray, frames: Frames, depth: int) -> None:
        if len(frames):
            self.queue.append((layer, data, frames, depth))

    def require(self, frames: Frames, size: int, cause: str = "truncated_link_header") -> Frames:
        """Those with at least `size` bytes left; the others are counted."""
        enough = frames.end - frames.at >= size
        if enough.all():
            return frames
        self.count(cause, len(frames) - np.count_nonzero(enough))
        return frames[enough]

    def dispatch(
        self,
        data: np.ndarray,
        frames: Frames,
        protocol: np.ndarray,
        table: dict[int, str],
        depth: int,
        name: Callable[[int], tuple[str, str]] = names.ethertype,
    ) -> None:
        """Hand each frame to the layer its protocol number names; `name` says what the others are."""
        if not len(frames):
            return
        first = int(protocol[0])
        if (protocol == first).all():
            self._hand_on(data, frames, first, table, depth, name)
            return
        for number in np.unique(protocol):
            self._hand_on(data, frames[protocol == number], int(number), table, depth, name)

    def _hand_on(
        self,
        data: np.ndarray,
        frames: Frames,
        number: int,
        table: dict[int, str],
        depth: int,
        name: Callable[[int], tuple[str, str]],
    ) -> None:
        layer = table.get(number)
        if layer is None:
            cause, kind = name(number)
            self.count(cause, len(frames), kind)
        else:
            self.push(layer, data, frames, depth + 1)
