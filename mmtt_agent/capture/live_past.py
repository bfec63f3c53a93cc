"""Packets of live connections, kept as it may turn out that a connection must be followed packet by packet."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .live_slots import Slots
from .sessions import Packet

#: Of a connection's packets so many from its beginning are kept, and so many of the last; fewer where there are too
#: many in all.
FIRST, LAST = 128, 64
_FEWEST = 16


class Past:
    """The packets, in order of time, each pointing at its connection's one before.

    Args:
        most: so many are kept in all, or the fewest of each connection.
    """

    _COLUMNS: ClassVar[dict[str, Any]] = {
        "slot": np.int32, "serial": np.int64, "number": np.int64, "before": np.int32, "time": np.int64,
        "late": np.uint32, "low": np.bool_, "flags": np.uint8, "state": np.uint8, "seq": np.uint32, "ack": np.uint32,
        "payload": np.int32,
    }  # fmt: skip

    def __init__(self, slots: Slots, most: int, capacity: int = 4096) -> None:
        self._slots, self._most = slots, most
        self._columns: dict[str, np.ndarray] = {name: np.zeros(capacity, kind) for name, kind in self._COLUMNS.items()}
        self._size = 0

    def add(self, starts: np.ndarray, slot: np.ndarray, number: np.ndarray, **columns: np.ndarray) -> None:
        """Keep packets.

        Args:
            starts: where each connection's begin.
            slot: per packet.
            number: per packet, how many packets of its connection were before.
        """
        count = len(slot)
        if self._size + count > len(self._columns["slot"]):
            self._make_room(count)
        at = self._size
        before = np.arange(at - 1, at + count - 1)
        heads = slot[starts]
        before[starts] = self._slots.newest[heads]
        self._slots.newest[heads] = at + np.append(starts[1:], count) - 1
        span = slice(at, at + count)
        self._columns["slot"][span] = slot
        self._columns["serial"][span] = self._slots.serial[slot]
        self._columns["number"][span] = number
        self._columns["before"][span] = before
        for name, column in columns.items():
            self._columns[name][span] = column
        self._size += count

    def _make_room(self, count: int) -> None:
        slots, old = self._slots, self._columns
        slot, number = old["slot"][: self._size], old["number"][: self._size]
        needed = (slots.serial[slot] == old["serial"][: self._size]) & ~slots.slow[slot]
        from_end = slots.packets[slot] - number
        first, last = FIRST, LAST
        while True:
            kept = np.flatnonzero(needed & ((number < first) | (from_end <= last)))
            if len(kept) <= self._most or max(first, last) <= _FEWEST:
                break
            first, last = first // 2, max(last // 2, _FEWEST)
        capacity = len(old["slot"])
        while len(kept) + count > capacity // 2:
            capacity *= 2
        if capacity > 1 << 16 and len(kept) + count < capacity // 8:
            capacity //= 2
        new: dict[str, np.ndarray] = {name: np.zeros(capacity, kind) for name, kind in self._COLUMNS.items()}
        for name in self._COLUMNS:
            new[name][: len(kept)] = old[name][kept]
        slot = slot[kept]
        order = np.argsort(slot, kind="stable")
        by_slot = slot[order]
        begins = np.ones(len(order), bool)
        begins[1:] = by_slot[1:] != by_slot[:-1]
        before = np.empty(len(order), np.int32)
        before[1:] = order[:-1]
        before[begins] = -1
        new["before"][order] = before
        ends = np.append(begins[1:], True) if len(begins) else begins
        slots.newest[by_slot[ends]] = order[ends]
        self._columns, self._size = new, len(kept)

    def of(self, slot: int) -> list[tuple[int, Packet]]:
        """A connection's packets that are kept, each with how many were before it."""
        at = int(self._slots.newest[slot])
        indices = []
        before = self._columns["before"]
        while at >= 0:
            indices.append(at)
            at = int(before[at])
        pick = np.array(indices[::-1], np.int64)
        names = ("number", "time", "late", "low", "flags", "seq", "ack", "payload", "state")
        rows = zip(*(self._columns[name][pick].tolist() for name in names), strict=True)
        return [(number, Packet(0, time, time + late, *fields)) for number, time, late, *fields in rows]
