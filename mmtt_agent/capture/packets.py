"""From records to TCP segments and UDP datagrams, as Zeek's packet analysis would deliver them to connections.

Every layer is decoded for all of a block's packets at once. A layer takes :class:`Frames`, drops (and counts) what
Zeek would not pass on, and hands the rest to the next layer; a tunnel hands its inner packets back to the start.
"""

from __future__ import annotations

import numpy as np

from mmtt_agent.capture import links, network
from mmtt_agent.capture.frames import Frames
from mmtt_agent.capture.records import Records
from mmtt_agent.capture.segments import Segments
from mmtt_agent.capture.work import Layer, Work

#: Layers inside layers that are followed at most (Zeek: ``PacketAnalyzer::max_depth``).
MAX_LAYERS = 24

_LAYERS: dict[str, Layer] = {**links.LAYERS, "ip": network.ip, "reassembled": network.reassembled}


class Decoder:
    """Decodes a capture's records, block by block, remembering fragments and tunnels between them.

    Args:
        checksums: leave out packets with a wrong checksum, as Zeek does where it isn't told ``-C``.
        most_fragments: bytes of fragments that are kept at most, about, for others to come; None: no limit.
    """

    def __init__(self, checksums: bool = True, most_fragments: int | None = None):
        self._work = Work(checksums, most_fragments)
        self.kinds = self._work.kinds
        self.addresses = self._work.addresses

    def decode(self, records: Records, first_row: int, clock: np.ndarray) -> Segments:
        """The block's segments.

        Args:
            records: the block.
            first_row: number of its first record in the capture.
            clock: int64 ``(n,)``, network time of each record, microseconds.
        """
        work = self._work
        work.clock, work.trusted = clock, records.trusted
        work.parts = []
        everything = Frames(
            np.arange(len(records), dtype=np.int64),
            records.start,
            records.start + records.captured,
            records.start + records.captured,
            records.start + records.wire,
        )
        types = np.unique(records.linktype)
        for linktype in types:
            frames = everything if len(types) == 1 else everything[records.linktype == linktype]
            links.begin(work, records.data, frames, int(linktype))
        while work.queue:
            layer, data, frames, depth = work.queue.popleft()
            if depth > MAX_LAYERS:
                work.count("nested_too_deep", len(frames))
            else:
                _LAYERS[layer](work, data, frames, depth)
        parts = work.parts
        segments = Segments.concatenate([part for _, part in parts])
        if len(parts) > 1:
            inner = np.concatenate([np.full(len(part), level) for level, part in parts])
            segments = segments[np.lexsort((inner, segments.row))]
        segments.row = segments.row + first_row
        return segments

    def counts(self) -> dict[str, int]:
        """Packets that were left out so far, by cause."""
        counts = dict(self._work.counts)
        fragments = self._work.fragments
        if lost := fragments.given_up + fragments.waiting():
            counts["lost_fragment"] = lost
        return counts
