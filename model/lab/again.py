"""A recorded connection once more: at another time, with other ends and sequence numbers, else as it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .recorded import Connection

_TCP = 6
_ACK = 0x10
#: Kinds of TCP options: the end, nothing, selective acknowledgements, times.
_END, _NOTHING, _SACK, _TIMES = 0, 1, 5, 8


@dataclass(frozen=True)
class Packets:
    """n packets of a capture: `times` int64 (n,), microseconds since 1970; the others as those of a Connection."""

    times: np.ndarray
    data: np.ndarray
    kept: np.ndarray
    lengths: np.ndarray


def again(
    connection: Connection, begin: int, orig: str, orig_port: int, resp: str, ahead: tuple[int, int] = (0, 0)
) -> Packets:
    """The connection's packets with their gaps and sizes, its first one at `begin`.

    Checksums are wrong or right as they were; a packet's kept part is all that is needed for that.

    Args:
        begin: microseconds since 1970.
        orig, orig_port, resp: its ends. The responder's port stays.
        ahead: what is added to the sequence numbers of the originator, and of the responder.
    """
    data, up = connection.data.copy(), connection.up
    rows, start = np.arange(len(data)), (data[:, 0] & 15).astype(np.int64) * 4
    source = np.where(up[:, None], _address(orig), _address(resp))
    target = np.where(up[:, None], _address(resp), _address(orig))
    data[:, 12:16], data[:, 16:20] = source, target
    port_at = np.where(up, start, start + 2)
    data[rows, port_at], data[rows, port_at + 1] = orig_port >> 8, orig_port & 255
    if connection.proto == _TCP and any(ahead):
        _move_on(data, connection, start, ahead)
    _mend(data, connection, rows, start)
    return Packets(connection.times + begin, data, connection.kept, connection.lengths)


def _address(text: str) -> np.ndarray:
    return np.frombuffer(bytes(map(int, text.split("."))), np.uint8)


def _move_on(data: np.ndarray, connection: Connection, start: np.ndarray, ahead: tuple[int, int]) -> None:
    """Add to sequence numbers, and to what acknowledges them."""
    kept, up = connection.kept, connection.up
    own, other = np.where(up, *ahead), np.where(up, *ahead[::-1])
    rows = np.flatnonzero(start + 20 <= kept)
    _add(data, rows, start[rows] + 4, own[rows])
    rows = rows[data[rows, start[rows] + 13] & _ACK > 0]
    _add(data, rows, start[rows] + 8, other[rows])
    # Most have no option at all, or that of the time, after two bytes of nothing.
    size = data[rows, start[rows] + 12] >> 4
    plain = (size == 5) | ((size == 8) & (data[rows, start[rows] + 2 + 20] == _TIMES))
    for row in rows[~plain].tolist():
        for edge in _sack_edges(data[row, : kept[row]], int(start[row])):
            _add(data, np.array([row]), np.array([edge]), other[row : row + 1])


def _add(data: np.ndarray, rows: np.ndarray, at: np.ndarray, numbers: np.ndarray) -> None:
    """Add to the numbers of 32 bits at (n,) of rows (n,)."""
    places = rows[:, None], at[:, None] + np.arange(4)
    old = data[places].astype(np.int64) @ (1 << np.array([24, 16, 8, 0]))
    data[places] = ((old + numbers) & 0xFFFFFFFF)[:, None] >> np.array([24, 16, 8, 0]) & 255


def _sack_edges(packet: np.ndarray, start: int) -> list[int]:
    """Where the numbers of a segment's selective acknowledgements are."""
    at, end = start + 20, min(start + int(packet[start + 12] >> 4) * 4, len(packet))
    while at + 1 < end and packet[at] != _END:
        if packet[at] == _NOTHING:
            at += 1
            continue
        size = int(packet[at + 1])
        if packet[at] == _SACK:
            return list(range(at + 2, min(at + size, end) - 3, 4))
        at += max(size, 2)
    return []


def _mend(data: np.ndarray, connection: Connection, rows: np.ndarray, start: np.ndarray) -> None:
    """Bring checksums up to what was changed (RFC 1624), so that a cut packet's is right as well."""
    # A checksum adds up words of two bytes; headers before what is changed are of an even length.
    weight = np.where(np.arange(data.shape[1]) % 2, 1, 256)
    changed = (data.astype(np.int64) - connection.data) * weight
    _raise(data, rows, np.full_like(start, 10), changed[:, 12:20].sum(axis=1), connection.kept)
    place = start + (16 if connection.proto == _TCP else 6)
    # The addresses are in these, too. A UDP packet without one stays so.
    total = changed.sum(axis=1)
    if connection.proto == _TCP:
        _raise(data, rows, place, total, connection.kept)
    else:
        has = (place + 2 <= connection.kept) & (data[rows, np.minimum(place, data.shape[1] - 2)] > 0)
        has |= (place + 2 <= connection.kept) & (data[rows, np.minimum(place + 1, data.shape[1] - 1)] > 0)
        _raise(data, rows[has], place[has], total[has], connection.kept[has], never_zero=True)


def _raise(
    data: np.ndarray, rows: np.ndarray, at: np.ndarray, change: np.ndarray, kept: np.ndarray, never_zero: bool = False
) -> None:
    """Change the checksums at (n,) of rows (n,) for words that have changed by (n,)."""
    there = at + 2 <= kept
    rows, at, change = rows[there], at[there], change[there]
    old = data[rows, at].astype(np.int64) * 256 + data[rows, at + 1]
    total = (0xFFFF - old + change) % 0xFFFF
    # Of a sum's two zeros that which comes of adding up.
    new = 0xFFFF - np.where(total == 0, 0xFFFF, total)
    if never_zero:
        new = np.where(new == 0, 0xFFFF, new)
    data[rows, at], data[rows, at + 1] = new >> 8, new & 255
