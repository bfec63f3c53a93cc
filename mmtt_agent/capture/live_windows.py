"""Windows of live connections: filled as packets come, told as soon as nothing more can enter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..series import MAX_PAYLOAD_PACKETS, MAX_WAIT_US, WINDOW_SPAN, WINDOW_STARTS
from .live_slots import Slots

_ENDS = np.array([start + WINDOW_SPAN - 1 for start in WINDOW_STARTS], np.int64)


@dataclass(slots=True)
class Followed:
    """A block's packets with their connections; those of a connection lie together, in order of time.

    Attributes:
        slot: int64, the connection's.
        counted: bool, Zeek counts it.
        payload: int32, bytes.
        time: int64, network time, µs.
        from_orig: bool, it was from the originator, as was known then.
        as_low: bool, it is counted for the lower endpoint.
    """

    slot: np.ndarray
    counted: np.ndarray
    payload: np.ndarray
    time: np.ndarray
    from_orig: np.ndarray
    as_low: np.ndarray


def fill(slots: Slots, packets: Followed, now: int, tell: Callable[[np.ndarray], None]) -> None:
    """Put packets into their connections' windows.

    Args:
        now: network time after them.
        tell: called with the slots of connections whose open windows are complete.
    """
    slot, payload, time, from_orig, as_low = (
        packets.slot, packets.payload, packets.time, packets.from_orig, packets.as_low,
    )  # fmt: skip
    if not packets.counted.all():
        at = np.flatnonzero(packets.counted)
        slot, payload, time, from_orig, as_low = slot[at], payload[at], time[at], from_orig[at], as_low[at]
    if not len(slot):
        return
    starts = _starts(slot[1:] != slot[:-1])
    ends = np.append(starts[1:], len(slot))
    sizes = ends - starts
    whose = slot[starts]
    before = slots.counted[whose]
    number = np.arange(1, len(slot) + 1) + np.repeat(before - starts, sizes)
    lower = np.add.reduceat(as_low, starts, dtype=np.int64)
    slots.counted[whose] = before + sizes
    slots.sent[whose, 1] += lower
    slots.sent[whose, 0] += sizes - lower

    which = np.full(len(slot), -1, np.int8)
    for window, start in enumerate(WINDOW_STARTS):
        which[(number >= start) & (number < start + WINDOW_SPAN)] = window
    kept = np.flatnonzero((payload > 0) & (which >= 0))
    if len(kept):
        _enter(
            slots, slot[kept], which[kept], time[kept], np.where(from_orig[kept], payload[kept], -payload[kept]), tell
        )
    full = slots.open[whose] & (
        (slots.held[whose] == MAX_PAYLOAD_PACKETS)
        | (slots.counted[whose] >= _ENDS[slots.window[whose]])
        | (now - slots.opened[whose] > MAX_WAIT_US)
    )
    if full.any():
        tell(whose[full])


def _enter(
    slots: Slots,
    slot: np.ndarray,
    which: np.ndarray,
    time: np.ndarray,
    size: np.ndarray,
    tell: Callable[[np.ndarray], None],
) -> None:
    """Packets with payload, inside the stretches that windows are cut from."""
    other = slot[1:] != slot[:-1]
    starts = _starts(other | (which[1:] != which[:-1]))
    ends = np.append(starts[1:], len(slot))
    # A connection may have packets of several windows in one block.
    again = slot[starts][1:] == slot[starts][:-1]
    turn = np.zeros(len(starts), np.int64)
    for index in (np.flatnonzero(again) + 1).tolist():
        turn[index] = turn[index - 1] + 1
    for step in range(int(turn.max()) + 1):
        of = np.flatnonzero(turn == step)
        begin, count = starts[of], ends[of] - starts[of]
        whose, window = slot[begin], which[begin]
        fresh = slots.window[whose] != window
        if fresh.any():
            stale = whose[fresh & slots.open[whose]]
            if len(stale):
                tell(stale)
            new = whose[fresh]
            slots.window[new], slots.open[new], slots.held[new] = window[fresh], True, 0
            slots.opened[new] = time[begin[fresh]]
            slots.sizes[new] = slots.times[new] = 0
        if len(of) == len(starts):
            packets, offset = np.arange(len(slot)), np.repeat(begin, count)
        else:
            offset = np.repeat(begin, count)
            packets = offset + np.arange(len(offset)) - np.repeat(np.cumsum(count) - count, count)
        at = slot[packets]
        place = slots.held[at] + (packets - offset)
        since = time[packets] - slots.opened[at]
        inside = np.flatnonzero(slots.open[at] & (place < MAX_PAYLOAD_PACKETS) & (since <= MAX_WAIT_US))
        at = at[inside]
        slots.sizes[at, place[inside]] = size[packets[inside]]
        slots.times[at, place[inside]] = since[inside]
        np.add.at(slots.held, at, 1)


def overdue(slots: Slots, now: int) -> np.ndarray:
    """The slots whose windows have waited for long enough."""
    return np.flatnonzero(slots.open & (now - slots.opened > MAX_WAIT_US))


def _starts(changes: np.ndarray) -> np.ndarray:
    """Where runs begin, from whether each element but the first differs from the one before."""
    return np.flatnonzero(np.concatenate(([True], changes)))
