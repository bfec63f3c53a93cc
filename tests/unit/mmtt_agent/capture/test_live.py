"""Live, the same connections and windows come of the same packets as of a capture, as soon as they can be told."""

from __future__ import annotations

import io
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_parity import Told, blocks, compare, follow, read
from made_captures import ACK, FIN, PSH, RST, START, SYN, A, B, Packet, ethernet, framed, ip, pcap, tcp, udp
from made_sessions import SECOND, SESSIONS, many, talk
from places import DATA, ROOT

from mmtt_agent.capture import CaptureError, live, live_past
from mmtt_agent.capture.live import Found, LiveCapture

SHARED = ROOT.parent / "shared" / "data" / "captures"
ALL = 1 << 40


def every(size: int):
    return lambda: size


# The same as of a capture


@pytest.mark.parametrize("size", [1, 7, 100, 5000, ALL])
@pytest.mark.parametrize("name", ["office.pcap", "midstream.pcap", "lab.pcap"])
def test_of_the_projects_own_captures_the_same_comes(name, size):
    if name == "lab.pcap" and size == 1:
        pytest.skip("takes too long; a block of 7 shows the same")
    assert compare(DATA / name, every(size))


@pytest.mark.parametrize("size", [1, 7, ALL])
@pytest.mark.parametrize("name", SESSIONS)
def test_connections_are_cut_at_the_same_places(name, size):
    compare(pcap(SESSIONS[name]()), every(size))


@pytest.mark.parametrize("size", [1, 7, 100, ALL])
@pytest.mark.parametrize("seed", range(4))
def test_random_conversations_are_cut_at_the_same_places(seed, size):
    packets = [packet for conversation in many(seed, 60) for packet in conversation]
    assert compare(pcap(sorted(packets, key=lambda each: each.time)), every(size))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(1, 25),
    most=st.sampled_from([1, 3, 20, 1000]),
    late=st.lists(st.sampled_from([0, 0, 0, 10, 900_000, 1_100_000, 40_000_000]), min_size=1, max_size=9),
)
def test_whatever_the_blocks_and_however_times_go_back_the_same_comes(seed, count, most, late):
    packets = [packet for conversation in many(seed, count) for packet in conversation]
    wait = itertools.cycle(late)
    packets.sort(key=lambda packet: packet.time + next(wait))
    rng = random.Random(seed)
    compare(pcap(packets), lambda: rng.randint(1, most))


def long_tcp(packets: int, lose: int | None = None) -> list[Packet]:
    """A download of so many packets, of which one may be lost, that is closed; then the same ports are used again."""
    steps = [(0.0, True, SYN, 1, 0, 0), (0.01, False, SYN | ACK, 1, 2, 0), (0.02, True, ACK, 2, 2, 0)]
    at, sent = 0.03, 2
    for number in range(packets):
        if number % 3 == 2:
            steps.append((at, True, ACK, 2, sent, 0))
        else:
            if number != lose:
                steps.append((at, False, PSH | ACK, sent, 2, 1000 + number % 400))
            sent += 1000 + number % 400
        at += 0.001
    steps += [(at, False, FIN | ACK, sent, 2, 0), (at + 0.01, True, FIN | ACK, 2, sent + 1, 0)]
    steps += [(at + 0.02, False, ACK, sent + 1, 3, 0), (at + 2, True, ACK | PSH, 3, sent + 1, 7)]
    steps += [(at + 7, True, ACK | PSH, 10, sent + 1, 8), (at + 9, True, SYN, 77, 0, 0), (at + 20, True, ACK, 78, 0, 9)]
    return talk(*steps)


@pytest.mark.parametrize("lose", [None, 30, 400])
@pytest.mark.parametrize("size", [1, 100, ALL])
def test_of_a_long_connection_used_again_the_same_comes(size, lose):
    assert compare(pcap(long_tcp(600, lose)), every(size)) >= 3


@pytest.mark.parametrize("size", [50, 5000, ALL])
def test_all_four_windows_of_a_very_long_connection_are_told(size):
    assert compare(pcap(long_tcp(17_000)), every(size)) == 6


def test_of_long_connections_not_all_packets_are_kept_and_the_same_comes(monkeypatch):
    monkeypatch.setattr(live_past, "FIRST", 4)
    monkeypatch.setattr(live_past, "LAST", 8)
    monkeypatch.setattr(live, "FIRST", 4)
    monkeypatch.setattr(live, "LAST", 8)
    compare(pcap(long_tcp(9_000)), every(100))


def test_packets_are_left_out_and_counted_as_of_a_capture():
    frames = framed([Packet(0, tcp(A, 1, B, 2, SYN)), Packet(1, udp(A, 1, B, 2, 5)), Packet(3, ip(A, B, 1, bytes(8)))])
    broken = Packet(2, frames[1].data[:-1] + b"\1")
    data = pcap([*frames[:2], broken, Packet(2, frames[0].data, 0), frames[2]])
    assert follow(io.BytesIO(data), every(2)).counts == read(io.BytesIO(data)).counts
    capture = LiveCapture()
    for records in blocks(io.BytesIO(data), every(2)):
        capture.take(records)
    assert capture.counts == {"packets": 5, "empty": 1, "bad_udp_checksum": 1, "other_transport": 1}
    assert capture.kinds == {"other_transport": {"ICMP": 1}}
    assert (
        follow(io.BytesIO(data), every(2), checksums=False).windows == read(io.BytesIO(data), checksums=False).windows
    )


def test_two_hundred_captures_of_many_networks():
    """Of whatever was recorded anywhere: the same windows in blocks of whatever size."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared: the captures are not there")
    paths = sorted(path for path in SHARED.rglob("*.zst") if path.stat().st_size < 60_000)
    rng = random.Random(19)
    windows = 0
    for path in rng.sample(paths, 200):
        most = rng.choice((50, 1000, 20_000))
        try:
            windows += compare(path, lambda most=most: rng.randint(1, most))
        except CaptureError:
            continue
    assert windows > 1000


# When it is told


class Taken:
    """A live capture that is given packets."""

    def __init__(self, **options) -> None:
        self.live, self.told = LiveCapture(**options), Told()

    def _add(self, found: Found) -> list[tuple[int, ...]]:
        before = len(self.told.windows)
        self.told.add(found.connections, found.windows)
        return [sizes for _, _, _, sizes, _ in self.told.windows[before:]]

    def take(self, *packets: Packet) -> list[tuple[int, ...]]:
        """The sizes in each window that is told."""
        return [
            sizes for records in blocks(io.BytesIO(pcap(list(packets))), every(ALL))
            for sizes in self._add(self.live.take(records))
        ]  # fmt: skip

    def advance(self, seconds: float) -> list[tuple[int, ...]]:
        return self._add(self.live.advance(START + int(seconds * SECOND)))

    def end(self) -> list[tuple[int, ...]]:
        return self._add(self.live.end())


def datagram(seconds: float, size: int = 5, sport: int = 40_000, there: bool = True) -> Packet:
    ends = (A, sport, B, 9999) if there else (B, 9999, A, sport)
    return Packet(int(seconds * SECOND), ethernet(udp(*ends, size)))


def test_a_window_is_told_with_its_32nd_packet():
    taken = Taken()
    assert taken.take(*(datagram(0, n) for n in range(1, 32))) == []
    assert taken.take(datagram(1, 32), datagram(1, 33)) == [tuple(range(1, 33))]
    assert taken.take(datagram(2, 34)) == taken.end() == []


def test_a_window_is_told_with_the_64th_packet_whatever_that_holds():
    taken = Taken()
    assert taken.take(datagram(0, 7), *(datagram(0, 0) for _ in range(62))) == []
    assert taken.take(datagram(1, 0)) == [(7,)]


def test_a_window_is_told_when_it_has_waited_for_a_minute():
    taken = Taken()
    assert taken.take(datagram(0, 7), datagram(0.5, 0)) == []
    for at in (20, 40, 59.9):
        assert taken.take(datagram(at, 0)) == []
    assert taken.advance(60) == []
    assert taken.advance(60.1) == [(7,)]
    assert taken.live.open == 1


def test_a_window_is_told_when_its_connection_is_over():
    taken = Taken()
    assert taken.take(datagram(0, 7), datagram(1, 8, there=False)) == []
    assert taken.advance(59) == []
    assert taken.advance(61) == [(7, -8)]
    assert (taken.live.open, taken.live.seen) == (0, 1)


def test_a_closed_connection_is_over_after_five_seconds():
    taken = Taken()
    taken.take(
        *talk((0, True, SYN, 1, 0, 0), (0, False, SYN | ACK, 1, 2, 0), (0, True, ACK, 2, 2, 9),
              (1, False, FIN | ACK, 2, 11, 0), (1, True, FIN | ACK, 11, 3, 0), (1, False, ACK, 3, 12, 0))
    )  # fmt: skip
    assert taken.advance(5.9) == []
    assert taken.advance(6) == [(9,)]
    assert taken.live.open == 0


def test_a_connection_that_nobody_answers_is_told_after_five_seconds_and_a_refused_one_at_once():
    taken = Taken()
    taken.take(*talk((0, True, SYN, 1, 0, 0)))
    assert taken.advance(4.9) == [] and not taken.told.failed
    taken.advance(5)
    assert len(taken.told.failed) == 1
    taken.take(*talk((6, True, SYN, 1, 0, 0), (6.1, False, RST | ACK, 0, 2, 0)))
    assert len(taken.told.failed) == 2
    taken.advance(20)
    taken.end()
    assert len(set(taken.told.failed)) == len(taken.told.failed) == 2


def test_after_the_end_time_may_begin_anew():
    taken = Taken()
    taken.take(datagram(5000, 7), datagram(5001, 8))
    assert taken.end() == [(7, 8)]
    assert taken.take(datagram(1, 5), datagram(2, 6)) == []
    assert taken.end() == [(5, 6)]
    assert taken.told.windows[1][2:] == (START + SECOND, (5, 6), (0, SECOND))


def test_all_windows_of_a_connection_have_its_identifier():
    taken = Taken()
    for n in range(300):
        taken.take(datagram(n / 100, 5 + n))
    taken.end()
    (first, number, ts, *_), (second, other, *_) = taken.told.windows
    assert (first, number, other, ts) == (second, 0, 1, START)


def test_packets_each_way_are_counted_up_to_now():
    capture = LiveCapture()
    packets = [datagram(0, 5), datagram(0, 6, there=False), *(datagram(0, 7) for _ in range(40))]
    for records in blocks(io.BytesIO(pcap(packets)), every(ALL)):
        found = capture.take(records).connections
    assert (found.orig_pkts.tolist(), found.resp_pkts.tolist()) == ([41], [1])
    assert (found.orig_p.tolist(), found.resp_p.tolist(), found.proto.tolist()) == ([40_000], [9999], [17])


# Memory


def test_beyond_the_limit_those_longest_idle_are_told_and_given_up():
    taken = Taken(max_connections=3)
    for n in range(3):
        assert taken.take(datagram(n, 10 + n, sport=1000 + n)) == []
    assert taken.take(datagram(3, 20, sport=1000)) == []
    assert taken.take(datagram(4, 30, sport=2000)) == [(11,)]
    assert (taken.live.open, taken.live.evicted, taken.live.seen) == (3, 1, 4)
    assert taken.take(*(datagram(5, 40 + n, sport=3000 + n) for n in range(7)))
    assert (taken.live.open, taken.live.evicted) == (3, 8)
    assert sorted(taken.end()) == [(44,), (45,), (46,)] or len(taken.told.windows) == 11


def test_addresses_of_connections_that_are_over_are_forgotten(monkeypatch):
    monkeypatch.setattr(live, "_FEW_ADDRESSES", 20)
    packets = []
    for number in range(400):
        ends = f"fe80::{number + 1:x}", 1000, f"2001:db8::{400 - number:x}", 9999
        for at in (0, 1, 70):
            source, destination = (ends[:2], ends[2:]) if at != 1 else (ends[2:], ends[:2])
            packets.append(Packet((number * 5 + at) * SECOND, ethernet(udp(*source, *destination, 5 + number))))
    packets.sort(key=lambda packet: packet.time)
    most = []
    data = pcap(packets)

    def check(capture: LiveCapture) -> None:
        most.append(len(capture._decoder.addresses))

    told = follow(io.BytesIO(data), every(10), check)
    assert set(told.windows) == set(read(io.BytesIO(data)).windows)
    assert max(most) < 120


def test_fragments_that_wait_for_others_are_bounded(monkeypatch):
    monkeypatch.setattr(live, "_MOST_FRAGMENTS", 10_000)
    capture = LiveCapture()
    packets = [Packet(n, ethernet(ip(A, B, 17, bytes(800), identity=n, fragment=0x2000))) for n in range(100)]
    for records in blocks(io.BytesIO(pcap(packets)), every(10)):
        capture.take(records)
    assert capture._decoder._work.fragments.waiting() < 12
    assert capture.counts["lost_fragment"] == 100


def test_what_is_kept_of_packets_does_not_grow_with_time():
    capture = LiveCapture(max_connections=50)
    sizes = []
    for start in range(0, 200, 10):
        packets = [datagram(start + n / 100, 5, sport=1000 + start * 100 + n) for n in range(1000)]
        for records in blocks(io.BytesIO(pcap(packets)), every(200)):
            capture.take(records)
        past = capture._past
        sizes.append(len(past._columns["slot"]))
    assert max(sizes) <= 8192
    assert np.count_nonzero(capture._slots.serial >= 0) == capture.open <= 50
