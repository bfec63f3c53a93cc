"""What waits for the model, and to be told, is bounded, and what is not told is counted."""

from __future__ import annotations

import numpy as np
from places import DATA

from mmtt_agent.capture import read_capture
from mmtt_agent.series import MIN_PACKETS
from mmtt_agent.sniff.waiting import Waiting


def test_where_nobody_takes_them_no_more_wait_than_may():
    capture = read_capture(DATA / "office.pcap")
    windows, connections = capture.windows, capture.connections
    connections.failed[0] = True
    waiting, times = Waiting(64), 300
    for _ in range(times):
        waiting.put(connections, windows)
    waiting.end()
    told, failed, held = 0, 0, 0
    while (batches := waiting.take(64, 0.0, 0.0)) is not None:
        for each in batches:
            told += len(each.run) + len(each.short) + len(each.shed)
            failed += int(np.count_nonzero(each.connections.failed))
            held += 1
            waiting.done(len(each.run))
    assert (windows.series.lengths >= MIN_PACKETS).sum() > 1 and waiting.to_run == 0
    assert told + waiting.counts["lost"] == times * len(windows)
    assert failed + waiting.counts["untold"] == times * int(np.count_nonzero(connections.failed))
    assert failed > 0 and waiting.counts["untold"] > 0
    # Of each there is something to be told.
    assert told <= 5 * 64 and held <= told + failed < times


def test_connections_that_came_to_nothing_wait_for_room_as_windows_do():
    capture = read_capture(DATA / "office.pcap")
    connections, none = capture.connections, capture.windows
    none = type(none)(none.connection[:0], none.window[:0], none.ts[:0], none.series[:0])
    connections.failed[:] = True
    waiting = Waiting(64)
    for _ in range(300):
        waiting.put(connections, none)
    held = sum(int(np.count_nonzero(each.connections.failed)) for each in waiting.take(64, 0.0, 0.0))
    assert 0 < held <= 4 * 64 and held + waiting.counts["untold"] == 300 * len(connections)
