"""Windows of payload packets from the connections' packets."""

from __future__ import annotations

import numpy as np

from ..series import MAX_PAYLOAD_PACKETS, MAX_WAIT_US, WINDOW_SPAN, WINDOW_STARTS, SeriesBatch


def cut(
    connection: np.ndarray, counted: np.ndarray, payload: np.ndarray, time: np.ndarray, from_orig: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, SeriesBatch]:
    """The windows of all connections.

    Args:
        connection: int64 ``(n,)``, each packet's connection, in ascending order, packets in order of time.
        counted: bool ``(n,)``, whether the packet counts for the connection.
        payload: int ``(n,)``, bytes of payload.
        time: int64 ``(n,)``, network time, microseconds.
        from_orig: bool ``(n,)``, sent by the originator.

    Returns:
        Per window, in order of connection and window: the connection, the window's number (uint8), the time of its
        first packet with payload (int64), and the series.
    """
    if not counted.all():
        connection, payload = connection[counted], payload[counted]
        time, from_orig = time[counted], from_orig[counted]
    n = len(connection)
    if n == 0:
        empty = np.zeros(0, np.int64)
        return empty, empty.astype(np.uint8), empty, SeriesBatch.empty()
    index = np.arange(n)
    number = index - _run_starts(connection) + 1
    window = np.full(n, -1, np.int8)
    for which, start in enumerate(WINDOW_STARTS):
        window[(number >= start) & (number < start + WINDOW_SPAN)] = which
    keep = np.flatnonzero((window >= 0) & (payload > 0))
    key = connection[keep] * len(WINDOW_STARTS) + window[keep]
    time, payload = time[keep], payload[keep]
    size = np.where(from_orig[keep], payload, -payload)
    starts = _run_starts(key)
    place = np.arange(len(keep)) - starts
    since = time - time[starts] if len(keep) else time
    inside = (place < MAX_PAYLOAD_PACKETS) & (since <= MAX_WAIT_US)
    first = np.flatnonzero(place == 0)
    row = np.cumsum(place == 0) - 1
    sizes = np.zeros((len(first), MAX_PAYLOAD_PACKETS), np.int32)
    times = np.zeros_like(sizes)
    sizes[row[inside], place[inside]] = size[inside]
    times[row[inside], place[inside]] = since[inside]
    lengths = np.bincount(row[inside], minlength=len(first)).astype(np.int32)
    key = key[first]
    return (
        key // len(WINDOW_STARTS),
        (key % len(WINDOW_STARTS)).astype(np.uint8),
        time[first],
        SeriesBatch(sizes, times, lengths),
    )


def _run_starts(values: np.ndarray) -> np.ndarray:
    """For each element of a sorted array, the index at which its run of equal values starts."""
    if not len(values):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
    return np.repeat(starts, np.diff(np.append(starts, len(values))))
