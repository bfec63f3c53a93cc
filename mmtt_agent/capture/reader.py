"""Read a capture: files, packets, connections, windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..series import SeriesBatch
from . import windows as window_cutting
from .connections import Connections, assign
from .files import CaptureFile
from .packets import Decoder
from .segments import COUNTED, Segments


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows with at least one packet with payload, ordered by time and connection.

    Attributes:
        connection: int64 ``(n,)``, row of the connection.
        window: uint8 ``(n,)``, 0 to 3.
        ts: int64 ``(n,)``, time of the first packet with payload, microseconds since 1970.
        series: ``n`` rows.
    """

    connection: np.ndarray
    window: np.ndarray
    ts: np.ndarray
    series: SeriesBatch

    def __len__(self) -> int:
        return len(self.connection)


@dataclass(frozen=True, slots=True)
class Capture:
    """What a capture holds.

    Attributes:
        counts: packets by what became of them: ``packets`` in all, and those left out by cause.
        warnings: what the user should know, one line each.
    """

    name: str
    connections: Connections
    windows: Windows
    counts: dict[str, int]
    warnings: list[str]


def read_capture(
    source,
    *,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    checksums: bool = True,
) -> Capture:
    """The connections and windows of a capture, as Zeek and its package would have them.

    Args:
        source: a path, or a binary stream.
        name: what to call it in messages.
        progress: called now and then with the bytes read and the packets found so far.
        checksums: leave out packets with a wrong checksum, as Zeek does; False is Zeek's ``-C``, for captures made
            on a host whose network card fills the checksums in after the capture has seen the packet.

    Raises:
        CaptureError: it can't be read; one line that names the file, the place and the remedy.
    """
    decoder = Decoder(checksums)
    parts: list[Segments] = []
    times: list[np.ndarray] = []
    clocks: list[np.ndarray] = []
    # Zeek's clock begins at one second.
    now, total = 1_000_000, 0
    with CaptureFile(source, name) as file:
        for records in file:
            # Network time never goes back.
            clock = np.maximum.accumulate(np.maximum(records.time, now))
            now = int(clock[-1])
            parts.append(decoder.decode(records, total, clock))
            times.append(records.time)
            clocks.append(clock)
            total += len(records)
            if progress:
                progress(file.bytes_read, total)
        counts = {"packets": total, **file.counts, **decoder.counts}
        warnings, name = list(file.warnings), file.name
    segments = Segments.concatenate(parts)
    nothing = np.zeros(0, np.int64)
    time, clock = np.concatenate([nothing, *times]), np.concatenate([nothing, *clocks])
    connections, assigned = assign(segments, time, clock, decoder.addresses)
    order = assigned.order
    connection, window, ts, series = window_cutting.cut(
        assigned.connection,
        segments.state[order] & COUNTED != 0,
        segments.payload[order],
        clock[segments.row[order]],
        assigned.from_orig,
    )
    by_time = np.lexsort((window, connection, ts))
    return Capture(
        name,
        connections,
        Windows(connection[by_time], window[by_time], ts[by_time], series[by_time]),
        counts,
        warnings,
    )
