"""One side of a TCP connection: its sequence numbers, and its data put in order, as Zeek keeps them."""

from __future__ import annotations

import bisect

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)

_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
#: A jump in sequence numbers that a SYN, a RST or an acknowledgement of 0 isn't believed.
TOO_LARGE_SEQ_DELTA = 1_048_576
#: So many bytes may wait for data that is missing, or for an acknowledgement, while there was none
#: (``tcp_max_initial_window``, ``tcp_max_above_hole_without_any_acks``), and in all
#: (``tcp_excessive_data_without_further_acks``).
_MAX_UNACKNOWLEDGED = 16_384
_MAX_WAITING = 10 * 1024 * 1024


def difference(one: int, other: int) -> int:
    """How far one 32-bit sequence number is ahead of another."""
    delta = one - other & _M32
    return delta - (1 << 32) if delta >> 31 else delta


class Endpoint:
    """One side.

    Attributes:
        low: it is the lower endpoint.
        state, before: its TCP state, and the one before that.
        start: the sequence number that others are relative to, a SYN's.
        last: the sequence number after the last that was seen.
        acknowledged: the last acknowledgement of its data.
        fins, fin_at: how many FINs it has sent, and where the last was, relative.
        at_end: all data has been seen to have come, up to a FIN or RST.
    """

    def __init__(self, low: bool) -> None:
        self.low = low
        self.state = self.before = INACTIVE
        self.did_close = False
        self.start = self.last = self.acknowledged = 0
        self._wraps = self._acknowledged_wraps = 0
        self.fins = self.fin_at = 0
        # Of its data, relative: how far it has come in order, up to where it is done with, and what is kept of it, as
        # (begin, end) that don't overlap, in order.
        self.reached = self._trimmed = 1
        self.blocks: list[tuple[int, int]] = []
        self._kept = 0
        self._skipping = False
        self.at_end = False

    def begin(self, seq: int, last: int) -> None:
        """Sequence numbers count from `seq`, a SYN's, and have come to `last`."""
        self.start = self.acknowledged = seq & _M32
        self.last = last & _M32

    def resume(self, seq: int) -> None:
        """Sequence numbers go on at `seq`, and all data before has come and is acknowledged."""
        self.start = seq - 2 & _M32
        self.last = self.acknowledged = seq
        self._wraps = self._acknowledged_wraps = int(seq < self.start)
        self.reached = self._trimmed = 2
        self.blocks, self._kept = [], 0

    def _relative(self, seq: int, last: int, wraps: int) -> tuple[int, bool]:
        """A sequence number relative to the start, and whether it is before that."""
        delta = difference(seq, last)
        if delta < 0:
            if wraps and seq > last:
                wraps -= 1
        elif delta > 0 and seq < last:
            wraps += 1
        if wraps == 0:
            delta = difference(seq, self.start)
            return delta & _M64, delta < 0
        return (wraps << 32) + seq - self.start & _M64, False

    def relative(self, seq: int) -> tuple[int, bool]:
        return self._relative(seq, self.last, self._wraps)

    def relative_acknowledgement(self, seq: int) -> tuple[int, bool]:
        return self._relative(seq, self.acknowledged, self._acknowledged_wraps)

    def acknowledge(self, seq: int) -> None:
        """The peer has all before `seq`."""
        delta = difference(seq, self.acknowledged)
        if delta > 0 and not (seq == 0 and delta > TOO_LARGE_SEQ_DELTA):
            self._acknowledged_wraps += seq < self.acknowledged
            self.acknowledged = seq

    def advance(self, seq: int) -> None:
        """Its sequence numbers have come to `seq`."""
        self._wraps += seq < self.last
        self.last = seq

    @property
    def _nothing_acknowledged(self) -> bool:
        return (self._acknowledged_wraps << 32) + self.acknowledged - self.start in (0, 1)

    def _size(self, peer: Endpoint) -> int:
        """Bytes of data by the sequence numbers."""
        if (self.before, self.state, peer.state) == (SYN_SENT, RESET, INACTIVE) and not self._nothing_acknowledged:
            return 0
        last = (self._wraps << 32) + self.last
        acknowledged = (self._acknowledged_wraps << 32) + self.acknowledged
        size = max(last, acknowledged) - self.start & _M64
        return size - (size != 0) - (self.fins > 0 and size > 1)

    def data(self, begin: int, size: int, peer: Endpoint) -> None:
        """Data has come, captured in full."""
        if self._skipping:
            return
        end = begin + size
        if end > self._trimmed:
            self._insert(max(begin, self._trimmed), end)
            self._deliver(peer)
        waiting = self.blocks[-1][1] - self.reached if self.blocks else 0
        if (self._nothing_acknowledged and waiting > _MAX_UNACKNOWLEDGED) or self._kept > _MAX_WAITING:
            self.blocks, self._kept = [], 0
            self._skipping = True

    def _insert(self, begin: int, end: int) -> None:
        blocks = self.blocks
        pieces = []
        at = bisect.bisect_left(blocks, (begin,))
        for one, other in blocks[max(at - 1, 0) :]:
            if one >= end:
                break
            if begin < one:
                pieces.append((begin, one))
            begin = max(begin, other)
        if begin < end:
            pieces.append((begin, end))
        for piece in pieces:
            bisect.insort(blocks, piece)
            self._kept += piece[1] - piece[0]

    def _deliver(self, peer: Endpoint) -> None:
        """What has no gap before it any more is delivered."""
        before = self.reached
        for begin, end in self.blocks[bisect.bisect_left(self.blocks, (before,)) :]:
            if begin > self.reached:
                break
            self.reached = end
        if self.reached > before and self._nothing_acknowledged and self._size(peer) > _MAX_UNACKNOWLEDGED:
            self._trim(self.reached, peer, False)

    def received(self, seq: int, peer: Endpoint, partial: bool) -> bool:
        """The peer has acknowledged all before `seq`, relative; whether this was news."""
        if self.fins and seq >= self.fin_at:
            seq = self.fin_at - 1
        if seq <= self._trimmed:
            return False
        self._trim(seq, peer, partial)
        return True

    def _trim(self, seq: int, peer: Endpoint, partial: bool) -> None:
        # Of a connection seen from its middle, the first acknowledgement may be for what came before.
        if seq > self.reached and not (seq <= 2 and partial):
            while not self._skipping:
                at = bisect.bisect_left(self.blocks, (self.reached,))
                if at == len(self.blocks) or self.blocks[at][0] >= seq:
                    break
                self.reached = self.blocks[at][0]
                self._deliver(peer)
            self.reached = max(self.reached, seq)
        done = 0
        while done < len(self.blocks) and self.blocks[done][1] <= seq:
            self._kept -= self.blocks[done][1] - self.blocks[done][0]
            done += 1
        del self.blocks[:done]
        self._trimmed = seq
        if self.blocks and self.blocks[0][0] == self.reached:
            self._deliver(peer)

    def lacks_data(self, peer: Endpoint) -> bool:
        """Data is missing that may still come, or that the peer has sent and may have to be acknowledged."""
        if self._skipping:
            return False
        delivered, last = self.start + self.reached & _M64, (self._wraps << 32) + self.last
        if last < delivered:
            return False
        # A FIN takes a sequence number, a RST doesn't.
        if delivered not in (last - 1, last):
            return True
        return self.state != RESET and bool(peer.blocks)
