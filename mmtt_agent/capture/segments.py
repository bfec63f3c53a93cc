"""What is left of packets once they are decoded: TCP segments and UDP datagrams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TCP, UDP = 6, 17

FIN, SYN, RST, ACK = 1, 2, 4, 16

# Bits of Segments.state.
COUNTED = 1  # Zeek's conn_size analyzer counts it
ALIVE = 2  # it moves the connection's last activity (what has a bad checksum does not)
STATELESS = 4  # it makes a connection but never reaches the TCP state machine (bad checksum or header)
# Of UDP:
ANSWER = 8  # DNS or NTP takes it for an answer, so that its sender is the responder
TO_MANY = 16  # its destination is the broadcast address
MESSAGE = 32  # DNS or NTP can read it
REQUEST = 64  # NTP takes it for a client's
VIOLATION = 128  # DNS or NTP takes it for something else than theirs
# Of TCP:
ZERO_WINDOW = 8
WHOLE = 16  # all of it was captured
BAD_CHECKSUM = 32
SSH_BANNER = 64


@dataclass(slots=True)
class Segments:
    """TCP segments and UDP datagrams in order of delivery: arrays of equal length.

    Attributes:
        row: int64, the record's number in the capture.
        address: uint64, the two addresses' numbers, the lower endpoint's in the upper half.
        port: uint64, ``family << 40 | protocol << 32 | lower endpoint's port << 16 | the other's``.
        forward: bool, sent by the lower endpoint.
        flags: uint8, TCP flags.
        seq, ack: uint32.
        payload: int32, bytes as the headers say, captured or not.
        state: uint8, the bits above.
    """

    row: np.ndarray
    address: np.ndarray
    port: np.ndarray
    forward: np.ndarray
    flags: np.ndarray
    seq: np.ndarray
    ack: np.ndarray
    payload: np.ndarray
    state: np.ndarray

    FIELDS = ("row", "address", "port", "forward", "flags", "seq", "ack", "payload", "state")

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, pick: slice | np.ndarray) -> Segments:
        return Segments(*(getattr(self, name)[pick] for name in self.FIELDS))

    @classmethod
    def concatenate(cls, parts: list[Segments]) -> Segments:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            types = (np.int64, np.uint64, np.uint64, bool, np.uint8, np.uint32, np.uint32, np.int32, np.uint8)
            return cls(*(np.zeros(0, t) for t in types))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in cls.FIELDS))
