"""What is known of each connection that is followed live: arrays with a row, a slot, for each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..series import MAX_PAYLOAD_PACKETS

NEVER = np.iinfo(np.int64).max // 2

# Bits of Slots.seen, of packets that a connection has had. Those of TCP are told apart by who sent them: the lower
# endpoint's as they are, the other's shifted by HIGH.
SENT, FINISHED, RESET, DATA = 1, 2, 4, 8
HIGH = 4
ANY_SYN = 1 << 8
SYN_AGAIN = 1 << 9  # a SYN without ACK that isn't the first packet
UNTRACKED = 1 << 10  # TCP: never reached the state machine; UDP: a wrong checksum
BACK = 1 << 11  # its time was far before network time
PAUSE, LONG_PAUSE = 1 << 12, 1 << 13  # about a minute without a packet, or more; about five
SSH = 1 << 14
ANY_MESSAGE = 1 << 15  # DNS's or NTP's
NOT_THEIRS = 1 << 16  # something else than that at their ports
TURN = 1 << 17  # NTP turns the connection round
DISORDER = 1 << 18  # TCP: its sequence number did not follow from the packet before of the same side
CUT = 1 << 19  # TCP: not all of its payload was captured
# Of the first packet.
PLAIN_SYN, MIDSTREAM = 1 << 20, 1 << 21
FIRST_MUTE = 1 << 22  # it was no message of DNS or NTP
# Of the endpoints.
IS_DNS, IS_NTP, TO_DNS, INTERACTIVE = 1 << 24, 1 << 25, 1 << 26, 1 << 27
# Told by who sent what.
GAVE_UP = 1 << 28  # the originator closed before there was an answer


class Slots:
    """The connections.

    Attributes:
        serial: int64, the connection's number; -1 where the slot is free.
        address, port: uint64, as in :class:`Segments`.
        begin, last: int64, time of its first packet, and the latest of any, µs.
        closing, answered, synack: int64, when it had its first FIN or RST; the first packet of whoever did not send the
            first (an acknowledgement of a SYN is no answer); and the first SYN-ACK among these; or :data:`NEVER`.
        seen: uint32, the bits above.
        after, ack: uint32 ``(slots, 2)``, the sequence number after, and the acknowledgement of, the last packet of the
            higher and the lower endpoint.
        first_low: bool, the lower endpoint sent the first packet.
        low_is_orig: bool, the lower endpoint is the originator, as far as is known.
        told: int8, the same as it was when the connection was first told of, -1 if it was not.
        tcp, failed: bool.
        slow, was_slow: bool, it is followed packet by packet; it was, and what was known then is kept.
        packets: int64, its packets since it was last followed packet by packet.
        counted: int64, its packets that Zeek counts.
        sent: int64 ``(slots, 2)``, the latter by who sent them, the higher and the lower endpoint.
        newest: int32, its last packet among those that are retained, -1 if none is.
        window: int8, the window that is open, or was last, -1 if none was yet.
        open: bool.
        held: int32, packets in that window.
        opened: int64, when it had the first of them, µs.
        sizes, times: int32 ``(slots, 32)``.
    """

    _PLAIN: ClassVar[dict[str, Any]] = {
        "serial": np.int64, "address": np.uint64, "port": np.uint64, "begin": np.int64, "last": np.int64,
        "closing": np.int64, "answered": np.int64, "synack": np.int64, "seen": np.uint32, "first_low": np.bool_,
        "low_is_orig": np.bool_, "told": np.int8, "tcp": np.bool_, "slow": np.bool_, "was_slow": np.bool_,
        "failed": np.bool_,
        "packets": np.int64, "counted": np.int64, "newest": np.int32, "window": np.int8, "open": np.bool_,
        "held": np.int32, "opened": np.int64,
    }  # fmt: skip
    _WIDE: ClassVar[dict[str, tuple[Any, int]]] = {
        "after": (np.uint32, 2), "ack": (np.uint32, 2), "sent": (np.int64, 2),
        "sizes": (np.int32, MAX_PAYLOAD_PACKETS), "times": (np.int32, MAX_PAYLOAD_PACKETS),
    }  # fmt: skip

    serial: np.ndarray
    address: np.ndarray
    port: np.ndarray
    begin: np.ndarray
    last: np.ndarray
    closing: np.ndarray
    answered: np.ndarray
    synack: np.ndarray
    seen: np.ndarray
    first_low: np.ndarray
    low_is_orig: np.ndarray
    told: np.ndarray
    tcp: np.ndarray
    slow: np.ndarray
    was_slow: np.ndarray
    failed: np.ndarray
    packets: np.ndarray
    counted: np.ndarray
    newest: np.ndarray
    window: np.ndarray
    open: np.ndarray
    held: np.ndarray
    opened: np.ndarray
    after: np.ndarray
    ack: np.ndarray
    sent: np.ndarray
    sizes: np.ndarray
    times: np.ndarray

    def __init__(self, capacity: int = 256) -> None:
        for name, kind in self._PLAIN.items():
            setattr(self, name, np.zeros(capacity, kind))
        for name, (kind, width) in self._WIDE.items():
            setattr(self, name, np.zeros((capacity, width), kind))
        self.serial[:] = -1
        self._free = np.arange(capacity, dtype=np.int64)[::-1].copy()
        self._free_count = capacity
        self._at: dict[bytes, int] = {}
        #: Connections that there have been, and slots in use.
        self.made = self.used = 0

    def _grow(self, more: int) -> None:
        old = len(self.serial)
        new = old
        while new - old < more:
            new *= 2
        for name in (*self._PLAIN, *self._WIDE):
            array = getattr(self, name)
            wider = np.zeros((new, *array.shape[1:]), array.dtype)
            wider[:old] = array
            setattr(self, name, wider)
        self.serial[old:] = -1
        free = np.empty(new, np.int64)
        free[: self._free_count] = self._free[: self._free_count]
        free[self._free_count : self._free_count + new - old] = np.arange(new - 1, old - 1, -1)
        self._free = free
        self._free_count += new - old

    def find(self, address: np.ndarray, port: np.ndarray) -> np.ndarray:
        """The slots of pairs of endpoints, -1 where there is none: int64."""
        get = self._at.get
        return np.fromiter((get(key, -1) for key in _keys(address, port)), np.int64, len(address))

    def make(self, address: np.ndarray, port: np.ndarray) -> np.ndarray:
        """Slots for new connections, cleared; of each pair of endpoints, the last given is the one that is found."""
        count = len(address)
        if count > self._free_count:
            self._grow(count - self._free_count)
        slots: np.ndarray = self._free[self._free_count - count : self._free_count][::-1].copy()
        self._free_count -= count
        self.serial[slots] = np.arange(self.made, self.made + count)
        self.made += count
        self.used += count
        self.address[slots], self.port[slots] = address, port
        self.closing[slots] = self.answered[slots] = self.synack[slots] = NEVER
        self.told[slots] = self.newest[slots] = self.window[slots] = -1
        self.slow[slots] = self.was_slow[slots] = self.failed[slots] = self.open[slots] = False
        self.packets[slots] = self.counted[slots] = 0
        self.sent[slots] = 0
        self.seen[slots] = 0
        self._at.update(zip(_keys(address, port), slots.tolist(), strict=True))
        return slots

    def make_another(self, slot: int) -> int:
        """A slot for a new connection between the same endpoints."""
        if not self._free_count:
            self._grow(1)
        self._free_count -= 1
        new = int(self._free[self._free_count])
        address, port = self.address[slot], self.port[slot]
        self.serial[new] = self.made
        self.made += 1
        self.used += 1
        self.address[new], self.port[new], self.tcp[new] = address, port, self.tcp[slot]
        self.closing[new] = self.answered[new] = self.synack[new] = NEVER
        self.told[new] = self.newest[new] = self.window[new] = -1
        self.slow[new] = self.was_slow[new] = self.failed[new] = self.open[new] = False
        self.packets[new] = self.counted[new] = self.seen[new] = 0
        self.sent[new] = 0
        self._at[address.tobytes() + port.tobytes()] = new
        return new

    def point(self, slots: np.ndarray) -> None:
        """Let these be the slots that are found for their pairs of endpoints."""
        self._at.update(zip(_keys(self.address[slots], self.port[slots]), slots.tolist(), strict=True))

    def free(self, slots: np.ndarray) -> None:
        at = self._at
        for key, slot in zip(_keys(self.address[slots], self.port[slots]), slots.tolist(), strict=True):
            if at.get(key) == slot:
                del at[key]
        self.serial[slots] = -1
        self.open[slots] = False
        self._free[self._free_count : self._free_count + len(slots)] = slots
        self._free_count += len(slots)
        self.used -= len(slots)

    def live(self) -> np.ndarray:
        """The slots in use: int64."""
        return np.flatnonzero(self.serial >= 0)


def _keys(address: np.ndarray, port: np.ndarray) -> list[bytes]:
    # As bytes, whose hashes nobody can foresee.
    both = np.empty((len(address), 2), np.uint64)
    both[:, 0], both[:, 1] = address, port
    keys: list[bytes] = both.view("V16").ravel().tolist()
    return keys
