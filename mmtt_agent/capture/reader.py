"""Read a capture: files, packets, connections, windows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ..series import SeriesBatch
from . import windows as window_cutting
from .connections import Connections, assign
from .files import CaptureFile
from .left_out import left_out
from .packets import Decoder
from .records import CaptureError
from .segments import COUNTED, Segments
from .time_line import TimeLine


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
        kinds: of some causes, packets by kind: of ``not_ip``, say, how many were ARP.
        warnings: what the user should know, one line each, with the capture's name.
        problems: what is damaged in the file, though it could be read: likewise.
    """

    name: str
    connections: Connections
    windows: Windows
    counts: dict[str, int]
    kinds: dict[str, dict[str, int]]
    warnings: list[str]
    problems: list[str]

    @property
    def left_out(self) -> str:
        """Which packets were left out and why, in one line; empty if none was."""
        return left_out(self.counts, self.kinds)


def read_capture(
    source: str | os.PathLike[str] | BinaryIO,
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
    time_line = TimeLine()
    total = rows = 0
    with CaptureFile(source, name) as file:
        for found in file:
            total += len(found)
            usable = time_line.usable(found)
            records = found if usable.all() else found[usable]
            if len(records):
                clock = time_line.clock(records.time)
                parts.append(decoder.decode(records, rows, clock))
                times.append(records.time)
                clocks.append(clock)
                rows += len(records)
            if progress:
                progress(file.bytes_read, total)
        counts = {"packets": total + file.lost, **file.counts, **time_line.counts, **decoder.counts()}
        if not counts["packets"] and (error := file.nothing()):
            raise error
        name, wrong = file.name, decoder.kinds.get("link_type", Counter[str]())
        if total and sum(wrong.values()) == total:
            raise CaptureError(
                f"{name}: link type {', '.join(wrong)} can't be read; convert it to Ethernet or raw IP "
                "(tcprewrite --dlt=enet knows some), or record it again"
            )
        warnings, problems = file.warnings + time_line.warnings(name, file.path, total), list(file.problems)
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
        {cause: dict(kinds) for cause, kinds in decoder.kinds.items()},
        warnings,
        problems,
    )
