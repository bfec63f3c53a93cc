"""Hold live connections and windows against those of the capture reader."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest import mock

import numpy as np

from mmtt_agent.capture import connections, read_capture
from mmtt_agent.capture.connections import Connections
from mmtt_agent.capture.files import CaptureFile
from mmtt_agent.capture.lag import Lag
from mmtt_agent.capture.live import Found, LiveCapture
from mmtt_agent.capture.reader import Windows
from mmtt_agent.capture.records import Records

#: A window: its connection's identifier, its number, time, sizes and times.
Window = tuple[str, int, int, tuple[int, ...], tuple[int, ...]]


@dataclass
class Told:
    """What one side makes of a capture. `endpoints`: of each identifier, the connection's two endpoints, in whatever
    order, and its time."""

    windows: list[Window] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    endpoints: dict[str, tuple[frozenset, int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, found: Connections, windows: Windows) -> None:
        uids = [found.uid(row) for row in range(len(found))]
        for row, uid in enumerate(uids):
            ends = (
                (found.orig_h[row].tobytes(), int(found.orig_p[row])),
                (found.resp_h[row].tobytes(), int(found.resp_p[row])),
            )
            self.endpoints[uid] = frozenset(ends), int(found.ts[row])
        self.failed += [uids[row] for row in np.flatnonzero(found.failed)]
        for at in range(len(windows)):
            length = windows.series.lengths[at]
            sizes, times = windows.series.sizes[at], windows.series.times[at]
            assert not sizes[length:].any() and not times[length:].any()
            self.windows.append(
                (uids[windows.connection[at]], int(windows.window[at]), int(windows.ts[at]),
                 tuple(sizes[:length].tolist()), tuple(times[:length].tolist()))
            )  # fmt: skip


def read(source, **options) -> Told:
    """What the capture reader makes of it, if no timer goes off late for there being too many at once: live, that is
    not looked at."""
    with mock.patch.object(connections, "late", return_value=Lag()):
        capture = read_capture(source, name="test.pcap", **options)
    told = Told(counts=capture.counts)
    told.add(capture.connections, capture.windows)
    return told


def blocks(source, size: Callable[[], int]) -> Iterator[Records]:
    """A capture's records, so many at a time."""
    with CaptureFile(source, "test.pcap") as file:
        for records in file:
            at = 0
            while at < len(records):
                end = min(at + size(), len(records))
                yield records[np.arange(at, end)]
                at = end


def follow(source, size: Callable[[], int], check: Callable[[LiveCapture], None] | None = None, **options) -> Told:
    """What comes of it live."""
    live, told = LiveCapture(**options), Told()

    def add(found: Found) -> None:
        told.add(found.connections, found.windows)

    for records in blocks(source, size):
        add(live.take(records))
        if check:
            check(live)
    add(live.end())
    assert live.open == 0
    told.counts = live.counts
    return told


def compare(source, size: Callable[[], int], **options) -> int:
    """Assert that both make the same of a capture, and each window is told once; returns how many windows there are.

    But for one thing: a connection that is turned round after it was told of keeps its identifier.
    """

    def opened():
        return io.BytesIO(source) if isinstance(source, bytes) else source

    one, other = read(opened(), **options), follow(opened(), size, **options)
    read_windows, told_windows = Counter(one.windows), Counter(other.windows)
    only_one, only_other = read_windows - told_windows, told_windows - read_windows
    turned = {one.endpoints[uid]: uid for uid, *_ in only_one}
    as_read = Counter((turned.get(other.endpoints[uid], uid), *rest) for uid, *rest in only_other.elements())
    assert as_read == only_one
    assert sorted(other.failed) == sorted(one.failed)
    assert {name: count for name, count in one.counts.items() if name in other.counts} == other.counts
    return len(one.windows)
