"""Connections and windows of packets as they come: what :func:`read_capture` finds in a capture, block by block.

Most connections are followed by numpy, a block at a time, as in ``connections``. As soon as a connection has something
about it that ``pairs.odd`` would name, it is followed packet by packet, and its packets so far with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..series import SeriesBatch
from . import live_slots as bits
from . import sessions
from .connections import Connections
from .live_clock import LiveClock
from .live_past import FIRST, LAST, Past
from .live_slots import HIGH, NEVER, Slots
from .live_slow import Cuts, Slow
from .live_windows import Followed, fill, overdue
from .packets import Decoder
from .pairs import Pairs, among, originators
from .reader import Windows
from .records import Records
from .segments import (
    ACK,
    ALIVE,
    ANSWER,
    COUNTED,
    FIN,
    MESSAGE,
    REQUEST,
    RST,
    SSH_BANNER,
    STATELESS,
    SYN,
    VIOLATION,
    WHOLE,
    Segments,
)
from .time_line import TimeLine

#: So long before a timer of theirs may be due, connections are followed packet by packet, µs: a packet's time may be
#: as long before network time and make no difference. (Packets of several receive queues are a little out of order.)
_MARGIN = 1_000_000
#: How often connections that are over are looked for, in µs of network time.
_EVERY = 1_000_000
#: Of closed connections that are not certainly over, packets that are gone through at a time, about.
_MOST_UNSURE = 5_000
#: Bytes of fragments that wait for others, packets of a connection that are kept on average, and IPv6 addresses that
#: are known: the most, or about.
_MOST_FRAGMENTS, _PACKETS_EACH, _FEW_ADDRESSES = 32 << 20, 16, 1 << 16
#: Of DNS's timer, which goes off every ten seconds, one falls after nine seconds of silence and before so many.
_DNS_OVER = 19_000_000
#: A connection that was closed and then reset by one and the same side is over when its timer goes off next.
_CLOSED_AND_RESET_OVER = sessions.TCP_CONNECTION_LINGER + sessions.TCP_SESSION_TIMER + 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """What can be told now.

    Attributes:
        connections: those of the windows below, and those that came to nothing since the last time: only then is
            `failed` set. Packets each way are those so far.
        windows: those that are complete since the last time, ordered by time and connection.
    """

    connections: Connections
    windows: Windows


class LiveCapture:
    """Follows connections through blocks of packets, in bounded memory.

    What is told differs from what :func:`read_capture` finds in the same packets in three things alone: a connection
    that is turned round after it was told of keeps its endpoints and so its identifier; that Zeek runs no more than
    300 timers with a packet (``lag``) is not looked at; and of a connection of very many packets not all are known
    any more should it have to be followed packet by packet.

    Args:
        checksums: leave out packets with a wrong checksum, as in :func:`read_capture`.
        max_connections: that are followed at once; beyond that the longest idle are given up.

    Attributes:
        kinds: of some causes, packets left out by kind, as in :class:`Capture`.
        evicted: connections that were given up.
    """

    def __init__(self, checksums: bool = True, max_connections: int = 200_000) -> None:
        self._decoder = Decoder(checksums, _MOST_FRAGMENTS)
        self._time_line = TimeLine()
        self._slots = Slots()
        self._past = Past(self._slots, _PACKETS_EACH * max_connections)
        self._clock = LiveClock()
        self._slow = Slow(self._slots, self._past, self._clock)
        self._most = max_connections
        self._packets = self._unused = 0
        self._now = self._scanned = 0
        self._told: list[_Told] = []
        self._many_addresses = _FEW_ADDRESSES
        self.evicted = 0
        self.kinds = self._decoder.kinds

    @property
    def counts(self) -> dict[str, int]:
        """Packets by what became of them, as in :class:`Capture`."""
        return {"packets": self._packets, **self._time_line.counts, **self._decoder.counts()}

    @property
    def now(self) -> int:
        """Network time, µs since 1970: the latest time of any packet so far, or to which time was let go on."""
        return self._now

    @property
    def seen(self) -> int:
        """Connections that there have been."""
        return self._slots.made - self._unused

    @property
    def open(self) -> int:
        """Connections that are being followed."""
        return self._slots.used

    def take(self, records: Records) -> Found:
        """Take a block of packets."""
        self._packets += len(records)
        usable = self._time_line.usable(records)
        if not usable.all():
            records = records[usable]
        if len(records):
            clock = self._time_line.clock(records.time)
            segments = self._decoder.decode(records, 0, clock)
            self._clock.add(clock)
            self._now = max(self._now, int(clock[-1]))
            if len(segments):
                self._follow(segments, records.time, clock)
            self._slow.advance(self._now)
            self._end_slow()
            if self._now - self._scanned >= _EVERY:
                self._scan()
            self._evict()
        found = self._found()
        self._forget_addresses()
        return found

    def advance(self, now: int) -> Found:
        """Let time go on without packets, to `now`, µs since 1970."""
        if now > self._now:
            self._now = now
            self._slow.advance(now)
            self._end_slow()
            self._scan()
        return self._found()

    def end(self) -> Found:
        """Finish what is open: there will be no more packets, or the clock was set back, and time begins anew."""
        self._slow.advance(self._now)
        self._end_slow()
        self._scan()
        self._finish(self._slots.live())
        self._time_line.begin_anew()
        self._clock.forget()
        self._now = self._scanned = 0
        return self._found()

    # A block

    def _follow(self, segments: Segments, times: np.ndarray, clock: np.ndarray) -> None:
        slots = self._slots
        pairs = Pairs.of(segments, times, clock)
        known = slots.find(pairs.address[pairs.starts], pairs.port[pairs.starts])
        is_known = known >= 0
        known_slots, known_starts = known[is_known], pairs.starts[is_known]
        pairs.gap[known_starts] = pairs.time[known_starts] - slots.last[known_slots]
        slow_pair = np.zeros(len(known), bool)
        slow_pair[is_known] = slots.slow[known_slots]

        # UDP: an idle minute ends a connection, and that is all unless a timer of DNS is about.
        begins = ~pairs.tcp & (pairs.gap >= sessions.UDP_INACTIVITY_TIMEOUT)
        if slow_pair.any():
            begins &= ~slow_pair[pairs.pair]
        begins[pairs.starts[~is_known]] = True
        run_begins = begins | pairs.first
        starts = np.flatnonzero(run_begins)
        ends = np.append(starts[1:], len(pairs))
        sizes = ends - starts
        run = np.cumsum(run_begins) - 1
        new = begins[starts]
        pair = pairs.pair[starts]
        slot = known[pair]
        superseded = known[pair[new & pairs.first[starts] & is_known[pair]]]
        turned = np.zeros(len(starts), bool)
        if new.any():
            fresh = starts[new]
            in_order = np.argsort(pairs.order[fresh], kind="stable")
            low_is_orig, turned[new] = originators(pairs, fresh)
            made = np.empty(len(fresh), np.int64)
            made[in_order] = slots.make(pairs.address[fresh][in_order], pairs.port[fresh][in_order])
            slot[new] = made
            self._describe(pairs, fresh, made, low_is_orig, turned[new])

        slow_run = slow_pair[pair]
        self._note_sequence(pairs, segments, run, slot)
        code = _codes(pairs, run, starts, new, slot, slots)
        seen = slots.seen[slot] | np.bitwise_or.reduceat(code, starts)
        slots.seen[slot] = seen
        time = pairs.time
        end = slots.last[slot] = np.maximum(slots.last[slot], np.maximum.reduceat(time, starts))
        failed = self._note_firsts(pairs, run, slot, pairs.low != slots.first_low[slot][run])
        odd = _odd(slots, slot, seen, end)
        if (odd & ~slow_run).any():
            slow_pair[pair[odd]] = True
            slow_run = slow_pair[pair]
        slot_of = slot[run]
        number = np.arange(len(pairs)) + np.repeat(slots.packets[slot] - starts, sizes)
        slots.packets[slot] += sizes
        from_orig = pairs.low == slots.low_is_orig[slot][run]
        as_low = pairs.low
        if turned.any():
            at = starts[turned]
            from_orig[at] ^= True
            as_low = as_low.copy()
            as_low[at] ^= True
        ended = [superseded, slot[:-1][pair[1:] == pair[:-1]]]
        if slow_run.any():
            failed = failed[~slow_run[failed]]
            # Slots that were made for later connections of pairs that are now followed packet by packet.
            unused = slow_run & ~pairs.first[starts]
            if unused.any():
                slots.free(slot[unused])
                self._unused += int(np.count_nonzero(unused))
                slots.point(slot[slow_run & pairs.first[starts]])
            if as_low is pairs.low:
                as_low = as_low.copy()
            which = np.flatnonzero(slow_pair)
            self._follow_slowly(pairs, segments, which, slot[np.searchsorted(pair, which)], slot_of, from_orig, as_low)
            quiet = which[np.bitwise_or.reduceat(code, pairs.starts)[which] & np.uint32(_NEEDS_FOLLOWING) == 0]
            for each in slot_of[np.append(pairs.starts, len(pairs))[quiet + 1] - 1].tolist():
                self._slow.leave(each)
            ended = [superseded, slot[:-1][(pair[1:] == pair[:-1]) & ~slow_run[1:]]]
        self._retain(pairs, segments, run, starts, sizes, slot, slow_run, number)
        fill(
            slots,
            Followed(slot_of, pairs.state & COUNTED != 0, pairs.payload, pairs.now, from_orig, as_low),
            self._now,
            self._tell_windows,
        )
        if len(failed):
            self._fail(slot[failed])
        over = np.concatenate(ended)
        if len(over):
            self._finish(over)

    def _describe(
        self, pairs: Pairs, at: np.ndarray, slot: np.ndarray, low_is_orig: np.ndarray, turned: np.ndarray
    ) -> None:
        """Fill in what the first packets, at `at`, say of new connections."""
        slots = self._slots
        tcp, flags, state = pairs.tcp[at], pairs.flags[at], pairs.state[at]
        slots.begin[slot] = slots.last[slot] = pairs.time[at]
        slots.tcp[slot] = tcp
        slots.first_low[slot] = pairs.low[at]
        slots.low_is_orig[slot] = low_is_orig
        low_port, high_port = pairs.ports(at)
        # Whom Zeek took for the responder when it saw the first packet: that port tells what it is looked into for.
        resp_port = np.where(low_is_orig ^ turned, high_port, low_port)
        about = np.zeros(len(at), np.uint32)

        def note(bit: int, where: np.ndarray) -> None:
            about[where] |= np.uint32(bit)

        note(bits.PLAIN_SYN, tcp & (flags & (SYN | ACK | FIN | RST) == SYN))
        note(bits.MIDSTREAM, tcp & (flags & (SYN | FIN | RST) == 0))
        note(bits.INTERACTIVE, tcp & (among(low_port, _INTERACTIVE) | among(high_port, _INTERACTIVE)))
        note(bits.FIRST_MUTE, ~tcp & (state & MESSAGE == 0))
        note(bits.IS_DNS, ~tcp & (among(low_port, _DNS) | among(high_port, _DNS)))
        note(bits.TO_DNS, ~tcp & among(resp_port, _DNS))
        note(bits.IS_NTP, ~tcp & ((low_port == 123) | (high_port == 123)))
        slots.seen[slot] = about

    def _note_firsts(self, pairs: Pairs, run: np.ndarray, slot: np.ndarray, by_other: np.ndarray) -> np.ndarray:
        """Note when TCP connections are closed and answered for the first time; the runs that are refused.

        Args:
            by_other: bool, per packet, it is from whoever did not send the connection's first.
        """
        slots, flags = self._slots, pairs.flags
        special = np.flatnonzero(pairs.tcp & ((flags & (SYN | FIN | RST) != 0) | (pairs.payload > 0)))
        nothing = np.zeros(0, np.int64)
        if not len(special):
            return nothing
        run_of, flag, other = run[special], flags[special], by_other[special]
        time = pairs.time[special]

        def first_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """The runs that have such a packet, and where the first is."""
            such = np.flatnonzero(mask)
            first = such[np.flatnonzero(np.diff(run_of[such], prepend=-1))]
            return run_of[first], first

        closing = flag & (FIN | RST) != 0
        runs, at = first_of(closing)
        whose = slot[runs]
        # Only the first time counts; what comes later is later, unless time goes back, which is odd.
        unset = slots.closing[whose] == NEVER
        slots.closing[whose[unset]] = time[at[unset]]
        runs, at = first_of(other & (flag & (SYN | ACK) == SYN | ACK))
        whose = slot[runs]
        unset = slots.synack[whose] == NEVER
        slots.synack[whose[unset]] = time[at[unset]]

        given_up = np.full(len(slot), len(pairs), np.int64)
        runs, at = first_of(closing & ~other)
        given_up[runs] = at
        given_up[slots.seen[slot] & bits.GAVE_UP != 0] = -1
        answers, answer = first_of(other)
        whose = slot[answers]
        unset = slots.answered[whose] == NEVER
        answers, answer, whose = answers[unset], answer[unset], whose[unset]
        slots.answered[whose] = time[answer]
        gave_up = runs[slots.answered[slot[runs]] == NEVER]
        slots.seen[slot[gave_up]] |= np.uint32(bits.GAVE_UP)
        refused: np.ndarray = (slots.seen[whose] & bits.PLAIN_SYN != 0) & (answer < given_up[answers])
        refused &= flag[answer] & (SYN | RST) == RST
        found: np.ndarray = answers[refused]
        return found

    def _note_sequence(self, pairs: Pairs, segments: Segments, run: np.ndarray, slot: np.ndarray) -> None:
        """Note the sequence numbers that the sides of TCP connections have come to, and whether any is out of order."""
        slots = self._slots
        for side, low, sent in ((1, pairs.low, bits.SENT), (0, ~pairs.low, bits.SENT << HIGH)):
            at = np.flatnonzero(low & pairs.tcp)
            if not len(at):
                continue
            flags, of, run_of = pairs.flags[at], pairs.order[at], run[at]
            seq = segments.seq[of]
            length = (flags & SYN != 0).astype(np.uint32) + (flags & FIN != 0)
            length += np.where(flags & RST != 0, 0, pairs.payload[at]).astype(np.uint32)
            after = seq + length
            first = np.flatnonzero(np.diff(run_of, prepend=-1))
            whose = slot[run_of[first]]
            expected = np.empty_like(seq)
            expected[1:] = after[:-1]
            begun = slots.seen[whose] & np.uint32(sent) != 0
            expected[first] = np.where(begun, slots.after[whose, side], seq[first])
            # A second FIN, at whatever number, is none of an orderly close.
            finished = run_of[flags & FIN != 0]
            before = slots.seen[slot[finished]] & np.uint32(sent * bits.FINISHED) != 0
            before[1:] |= finished[1:] == finished[:-1]
            out = slot[np.concatenate((run_of[seq != expected], finished[before]))]
            if len(out):
                slots.seen[out] |= np.uint32(bits.DISORDER)
            last = np.append(first[1:], len(at)) - 1
            slots.after[whose, side] = after[last]
            slots.ack[whose, side] = segments.ack[of[last]]

    def _follow_slowly(
        self,
        pairs: Pairs,
        segments: Segments,
        which: np.ndarray,
        slot: np.ndarray,
        slot_of: np.ndarray,
        from_orig: np.ndarray,
        as_low: np.ndarray,
    ) -> None:
        """Follow pairs packet by packet, and fill in what comes of it for their packets."""
        at = np.flatnonzero(np.isin(pairs.pair, which))
        of = pairs.order[at]
        columns = (
            pairs.row[at], pairs.time[at], pairs.now[at], pairs.low[at], pairs.flags[at],
            segments.seq[of], segments.ack[of], pairs.payload[at], pairs.state[at],
        )  # fmt: skip
        packets = [sessions.Packet(*fields) for fields in zip(*(c.tolist() for c in columns), strict=True)]
        sizes = np.diff(np.append(pairs.starts, len(pairs)))[which]
        cuts, begin = Cuts(), 0
        for each, size in zip(slot.tolist(), sizes.tolist(), strict=True):
            self._slow.begin(each)
            self._slow.follow(each, packets[begin : begin + size], cuts)
            begin += size
        slot_of[at], from_orig[at], as_low[at] = cuts.slots, cuts.from_orig, cuts.as_low

    def _retain(
        self,
        pairs: Pairs,
        segments: Segments,
        run: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        slot: np.ndarray,
        slow_run: np.ndarray,
        number: np.ndarray,
    ) -> None:
        """Keep the packets of connections that are not followed packet by packet."""
        to_end = np.repeat(starts + sizes, sizes) - np.arange(len(pairs))
        kept = ((number < FIRST) | (to_end <= LAST)) & ~slow_run[run]
        at = np.flatnonzero(kept)
        if not len(at):
            return
        of, run = pairs.order[at], run[at]
        begin = np.flatnonzero(np.diff(run, prepend=-1))
        self._past.add(
            begin, slot[run], number[at],
            time=pairs.time[at], late=pairs.now[at] - pairs.time[at], low=pairs.low[at], flags=pairs.flags[at],
            state=pairs.state[at], seq=segments.seq[of], ack=segments.ack[of], payload=pairs.payload[at],
        )  # fmt: skip

    # The end of connections

    def _end_slow(self) -> None:
        """Tell of the connections followed packet by packet that have failed, and finish those that are over."""
        slow = self._slow
        if slow.failed:
            self._fail(np.array(slow.failed, np.int64))
            slow.failed = []
        if slow.ended:
            self._finish(np.array(slow.ended, np.int64))
            slow.ended = []

    def _scan(self) -> None:
        """Finish connections that are over, and tell windows that have waited for long enough."""
        self._scanned = now = self._now
        slots = self._slots
        waiting = overdue(slots, now)
        if len(waiting):
            self._tell_windows(waiting)
        live = slots.live()
        live = live[~slots.slow[live]]
        found = _Over.of(slots, live, now)
        if found.failed.any():
            self._fail(live[found.failed])
        if found.over.any():
            self._finish(live[found.over])
        unsure = live[found.unsure]
        before = np.cumsum(np.minimum(slots.packets[unsure], FIRST + LAST))
        for slot in unsure[before <= _MOST_UNSURE].tolist():
            self._slow.begin(slot)
        self._slow.advance(now)
        self._end_slow()

    def _evict(self) -> None:
        excess = self._slots.used - self._most
        if excess <= 0:
            return
        live = self._slots.live()
        # Some more than need be, so as not to look for them with every block.
        excess = min(max(excess, self._most // 64), len(live))
        longest = live[np.argpartition(self._slots.last[live], excess - 1)[:excess]]
        self.evicted += len(longest)
        self._finish(longest)

    def _forget_addresses(self) -> None:
        addresses = self._decoder.addresses
        if len(addresses) <= self._many_addresses:
            return
        slots = self._slots
        live = slots.live()
        live = live[slots.port[live] >> np.uint64(40) != 0]
        both = slots.address[live]
        addresses.forget(np.concatenate((both >> np.uint64(32), both & np.uint64(0xFFFFFFFF))))
        self._many_addresses = max(_FEW_ADDRESSES, 2 * len(addresses))

    def _finish(self, slot: np.ndarray) -> None:
        """Tell the open windows of connections that are over, and forget these."""
        has_open = slot[self._slots.open[slot]]
        if len(has_open):
            self._tell_windows(has_open)
        for each in slot[self._slots.slow[slot] | self._slots.was_slow[slot]].tolist():
            self._slow.forget(each)
        self._slots.free(slot)

    # What is told

    def _tell_windows(self, slot: np.ndarray) -> None:
        slots = self._slots
        self._told.append(_Told.of(slots, slot, slots.window[slot]))
        slots.open[slot] = False

    def _fail(self, slot: np.ndarray) -> None:
        self._slots.failed[slot] = True
        self._told.append(_Told.of(self._slots, slot, np.full(len(slot), -1, np.int8)))

    def _found(self) -> Found:
        told, self._told = _Told.concatenate(self._told, self._slots), []
        # What was told last of a connection is what counts.
        number, reverse = np.unique(told.serial[::-1], return_index=True)
        row = len(told.serial) - 1 - reverse
        low = told.told_low[row].astype(bool)
        address, port = told.address[row], told.port[row]
        family = (port >> np.uint64(40)) != 0
        addresses = self._decoder.addresses
        low_address = addresses.bytes_of(family, (address >> np.uint64(32)).astype(np.uint32))
        high_address = addresses.bytes_of(family, (address & np.uint64(0xFFFFFFFF)).astype(np.uint32))
        low_port = (port >> np.uint64(16) & np.uint64(0xFFFF)).astype(np.uint16)
        high_port = (port & np.uint64(0xFFFF)).astype(np.uint16)
        high_sent, low_sent = told.sent[row, 0], told.sent[row, 1]
        connections = Connections(
            ts=told.begin[row],
            orig_h=np.where(low[:, None], low_address, high_address),
            resp_h=np.where(low[:, None], high_address, low_address),
            is_ipv6=family,
            orig_p=np.where(low, low_port, high_port),
            resp_p=np.where(low, high_port, low_port),
            proto=np.where(told.tcp[row], 6, 17).astype(np.uint8),
            orig_pkts=np.where(low, low_sent, high_sent),
            resp_pkts=np.where(low, high_sent, low_sent),
            failed=np.isin(number, told.serial[told.window < 0]),
        )
        such = np.flatnonzero(told.window >= 0)
        connection = np.searchsorted(number, told.serial[such])
        by_time = np.lexsort((told.window[such], connection, told.opened[such]))
        such = such[by_time]
        series = SeriesBatch(told.sizes[such], told.times[such], told.held[such])
        windows = Windows(connection[by_time], told.window[such].astype(np.uint8), told.opened[such], series)
        return Found(connections, windows)


_INTERACTIVE = sessions.INTERACTIVE_PORTS
_DNS = sessions.DNS_PORTS


def _tcp_codes() -> np.ndarray:
    """Of TCP flags, the bits of :class:`Slots` for a packet of the lower endpoint."""
    flags = np.arange(256)
    found = np.full(256, bits.SENT, np.uint32)
    found[flags & FIN != 0] |= bits.FINISHED
    found[flags & RST != 0] |= bits.RESET
    found[flags & SYN != 0] |= bits.ANY_SYN
    found[flags & (SYN | ACK) == SYN] |= bits.SYN_AGAIN
    return found


#: Of the bits of a block's packets, those after which a connection is still followed packet by packet.
_NEEDS_FOLLOWING = (
    bits.BACK | bits.UNTRACKED | bits.PAUSE | bits.LONG_PAUSE | bits.ANY_SYN
    | (bits.FINISHED | bits.RESET) * (1 | 1 << HIGH)
)  # fmt: skip
_TCP_CODES = _tcp_codes()
_SIDES = np.uint32(bits.SENT | bits.FINISHED | bits.RESET | bits.DATA)


def _codes(
    pairs: Pairs, run: np.ndarray, starts: np.ndarray, new: np.ndarray, slot: np.ndarray, slots: Slots
) -> np.ndarray:
    """The bits of :class:`Slots` that each packet adds to its connection's: uint32."""
    tcp, state = pairs.tcp, pairs.state
    code: np.ndarray = _TCP_CODES[pairs.flags]
    code |= (pairs.payload > 0) * np.uint32(bits.DATA)
    code |= (pairs.now - pairs.time > _MARGIN) * np.uint32(bits.BACK)
    code |= (pairs.gap >= sessions.UDP_INACTIVITY_TIMEOUT - _MARGIN) * np.uint32(bits.PAUSE)
    code |= (pairs.gap >= sessions.TCP_INACTIVITY_TIMEOUT - _MARGIN) * np.uint32(bits.LONG_PAUSE)
    high = ~pairs.low
    code[high] = (code[high] & ~_SIDES) | (code[high] & _SIDES) << np.uint32(HIGH)
    code |= (state & np.where(tcp, STATELESS, 0) != 0) * np.uint32(bits.UNTRACKED)
    code |= (state & np.where(tcp, SSH_BANNER, 0) != 0) * np.uint32(bits.SSH)
    code |= (tcp & (state & WHOLE == 0) & (pairs.payload > 0)) * np.uint32(bits.CUT)
    fresh = starts[new]
    code[fresh] &= ~np.uint32(bits.SYN_AGAIN | bits.PAUSE | bits.LONG_PAUSE)
    if not tcp.all():
        udp = ~tcp
        code |= (udp & (state & ALIVE == 0)) * np.uint32(bits.UNTRACKED)
        code |= (udp & (state & MESSAGE != 0)) * np.uint32(bits.ANY_MESSAGE)
        code |= (udp & (state & VIOLATION != 0)) * np.uint32(bits.NOT_THEIRS)
        ntp = slots.seen[slot] & bits.IS_NTP != 0
        if ntp.any():
            asked = np.flatnonzero(ntp[run] & (state & (ANSWER | REQUEST) != 0))
            from_orig = pairs.low[asked] == slots.low_is_orig[slot[run[asked]]]
            is_first = np.zeros(len(pairs), bool)
            is_first[fresh] = True
            turns = (state[asked] & np.where(from_orig, ANSWER, REQUEST) != 0) & ~is_first[asked]
            code[asked[turns]] |= np.uint32(bits.TURN)
    return code


def _odd(slots: Slots, slot: np.ndarray, seen: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Which connections must be followed packet by packet, as ``pairs.odd`` has it: bool ``(n,)``."""
    begin = slots.begin[slot]

    def has(bit: int) -> np.ndarray:
        found: np.ndarray = seen & np.uint32(bit) != 0
        return found

    tcp = slots.tcp[slot]
    midstream = has(bits.MIDSTREAM)
    closed = end - slots.closing[slot] >= sessions.TCP_CLOSE_DELAY - _MARGIN
    attempt = sessions.TCP_ATTEMPT_DELAY - _MARGIN
    unanswered = (slots.answered[slot] >= begin + attempt) & (end - begin >= attempt) & ~midstream
    paused = has(bits.PAUSE) & (slots.synack[slot] >= begin + attempt) & ~midstream
    odd_tcp = ~(has(bits.PLAIN_SYN) | (midstream & ~has(bits.ANY_SYN)))
    odd_tcp |= has(bits.SYN_AGAIN | bits.LONG_PAUSE) | closed | unanswered | paused
    odd_udp = has(bits.IS_DNS) & (
        (end - begin >= sessions.DNS_SESSION_TIMEOUT - _MARGIN) | (has(bits.FIRST_MUTE) & has(bits.ANY_MESSAGE))
    )
    odd_udp |= has(bits.TURN | bits.PAUSE)
    found: np.ndarray = has(bits.BACK | bits.UNTRACKED) | np.where(tcp, odd_tcp, odd_udp)
    return found


@dataclass(slots=True)
class _Over:
    """Of connections not followed packet by packet, bool ``(n,)`` each.

    Attributes:
        over: it is certainly over before any packet from now on.
        failed: because nobody answered.
        unsure: it was closed, but whether that took effect must be seen from its packets.

    Where it is not certain, and a packet comes before it is, that shows whether the connection was over (``_odd``).
    """

    over: np.ndarray
    failed: np.ndarray
    unsure: np.ndarray

    @classmethod
    def of(cls, slots: Slots, live: np.ndarray, now: int) -> _Over:
        seen = slots.seen[live]

        def has(bit: int) -> np.ndarray:
            found: np.ndarray = seen & np.uint32(bit) != 0
            return found

        tcp = slots.tcp[live]
        idle = now - slots.last[live]
        limit = np.full(len(live), sessions.UDP_INACTIVITY_TIMEOUT)
        limit[tcp] = sessions.TCP_INACTIVITY_TIMEOUT
        limit[has(bits.INTERACTIVE | bits.SSH)] = sessions.PORT_INACTIVITY_TIMEOUT
        limit[has(bits.TO_DNS) & ~has(bits.NOT_THEIRS)] = _DNS_OVER
        over = idle >= limit

        unanswered = has(bits.PLAIN_SYN) & (slots.answered[live] == NEVER) & ~has(bits.GAVE_UP)
        failed = unanswered & (now - slots.begin[live] >= sessions.TCP_ATTEMPT_DELAY)
        over |= failed

        unsure = np.zeros(len(live), bool)
        closed = np.flatnonzero((slots.closing[live] != NEVER) & (idle >= sessions.TCP_CLOSE_DELAY) & ~over)
        if len(closed):
            over[closed], unsure[closed] = _closed(slots, live[closed], idle[closed])
        return cls(over, failed, unsure)


def _closed(slots: Slots, which: np.ndarray, idle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which connections were closed or reset so that no data can be missing, for long enough, and which may have been:
    bool ``(n,)`` each."""
    seen, after, ack = slots.seen[which], slots.after[which], slots.ack[which]

    def has(bit: int, shift: int = 0) -> np.ndarray:
        found: np.ndarray = seen & np.uint32(bit << shift) != 0
        return found

    sides = ((1, 0, HIGH), (0, HIGH, 0))
    finished, reset = (
        [has(bits.FINISHED, shift) for _, shift, _ in sides],
        [has(bits.RESET, shift) for _, shift, _ in sides],
    )
    acknowledged = [
        ~has(bits.DATA, shift) | (has(bits.SENT, other) & ((ack[:, 1 - side] - after[:, side]).view(np.int32) >= -1))
        for side, shift, other in sides
    ]
    over = finished[0] & finished[1] & acknowledged[0] & acknowledged[1]
    for mine, other in ((0, 1), (1, 0)):
        by_reset = reset[mine] & (acknowledged[mine] | ~has(bits.CUT))
        over |= by_reset & ~finished[mine]
        over |= by_reset & ~finished[other] & (idle >= _CLOSED_AND_RESET_OVER)
    # Of a connection seen from its middle, Zeek does not believe the first acknowledgement.
    over &= ~has(bits.DISORDER) & ~(has(bits.MIDSTREAM) & has(bits.CUT))
    return over, ~over & ((finished[0] & finished[1]) | reset[0] | reset[1])


@dataclass(slots=True)
class _Told:
    """Connections as they were when they or windows of theirs were told: arrays of equal length.

    Attributes:
        window: int8, the window's number; -1 where the connection came to nothing.
        told_low: int8, whether the lower endpoint is the originator; others as in :class:`Slots`.
    """

    serial: np.ndarray
    window: np.ndarray
    told_low: np.ndarray
    address: np.ndarray
    port: np.ndarray
    begin: np.ndarray
    tcp: np.ndarray
    sent: np.ndarray
    opened: np.ndarray
    held: np.ndarray
    sizes: np.ndarray
    times: np.ndarray

    _OF_SLOTS = (
        "address", "port", "begin", "tcp", "sent", "opened", "held", "sizes", "times",
    )  # fmt: skip

    @classmethod
    def of(cls, slots: Slots, slot: np.ndarray, window: np.ndarray) -> _Told:
        # Who is the originator is told once and for all, as the identifier comes of it.
        told = np.where(slots.told[slot] < 0, slots.low_is_orig[slot], slots.told[slot]).astype(np.int8)
        slots.told[slot] = told
        return cls(slots.serial[slot], window, told, *(getattr(slots, name)[slot] for name in cls._OF_SLOTS))

    @classmethod
    def concatenate(cls, parts: list[_Told], slots: Slots) -> _Told:
        if not parts:
            nobody = np.zeros(0, np.int64)
            return cls.of(slots, nobody, nobody.astype(np.int8))
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))


_FIELDS = ("serial", "window", "told_low", *_Told._OF_SLOTS)
