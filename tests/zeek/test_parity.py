"""The capture reader and a real Zeek make the same windows of the same captures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_captures import Packet, pcap
from made_sessions import SESSIONS, many
from parity import PAUSE, ROOT, SHARED, compare_all, expand

from mmtt_agent.zeek import find as find_zeek

JOBS = os.cpu_count() or 1
#: Conversations of random packets.
RANDOM = 1500


@pytest.fixture(scope="module")
def zeek():
    found = find_zeek()
    if found is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    return found


def same(zeek, captures: list[Path], connections: bool = True, **options) -> None:
    result = compare_all(zeek, captures, JOBS, **options)
    assert not result.examples, "\n".join(result.examples[:5])
    assert result.windows
    assert not connections or result.connections_equal == result.connections


def test_the_projects_own_captures_give_the_same_windows_and_connections(zeek):
    same(zeek, expand([str(ROOT / "tests" / "data")]), each=True)


@pytest.mark.parametrize("name", SESSIONS)
def test_where_one_connection_ends_and_the_next_begins_is_the_same(zeek, tmp_path, name):
    path = tmp_path / f"{name}.pcap"
    path.write_bytes(pcap(SESSIONS[name]()))
    same(zeek, [path])


@pytest.mark.parametrize("apart", [True, False], ids=["one after the other", "all at once"])
def test_random_conversations_are_cut_at_the_same_places(zeek, tmp_path, apart):
    packets: list[Packet] = []
    start = 0
    for conversation in many(seed=1, count=RANDOM):
        packets += [Packet(p.time + start, p.data, p.captured) for p in conversation]
        if apart:
            # Past the end of whatever is left of the conversation.
            start = packets[-1].time + PAUSE
            packets += [Packet(start, b"\0")] * 20
            start += PAUSE
        else:
            start += 7_000
    if not apart:
        # Zeek runs 300 timers at most with a packet, so that some would go off late where there are few.
        packets += [Packet(at, b"\0") for at in range(0, max(p.time for p in packets), 100_000)]
    path = tmp_path / "random.pcap"
    path.write_bytes(pcap(sorted(packets, key=lambda p: p.time)))
    same(zeek, [path], each=True)


@pytest.mark.parametrize("group", ["raw", "captures/ndpi", "captures/benign", "captures/malicious", "captures/mixed"])
def test_other_peoples_captures_give_the_same_windows(zeek, group):
    if not SHARED.is_dir():
        pytest.skip(f"no ../shared: {SHARED} is not there")
    same(zeek, expand([str(SHARED / group)]), connections=False)
