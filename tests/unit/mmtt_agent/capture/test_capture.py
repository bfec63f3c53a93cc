"""The capture reader as its users see it: which connections and windows come out of a capture."""

from __future__ import annotations

import gzip
import io
import struct

import lz4.frame
import pytest
import zstandard
from made_captures import (
    A6,
    ACK,
    B6,
    COOKED,
    COOKED2,
    NULL,
    PSH,
    RAW,
    RST,
    START,
    SYN,
    A,
    B,
    Packet,
    conversation,
    ethernet,
    framed,
    ip,
    pcap,
    pcapng,
    tcp,
    udp,
)  # fmt: skip

from mmtt_agent.capture import read_capture

SIZES, TIMES = [100, -1000, -1000, 50], [0, 10_000, 20_000, 30_000]


def read(data: bytes, **options):
    return read_capture(io.BytesIO(data), name="test.pcap", **options)


def series(capture) -> list[tuple[int, int, list[int], list[int]]]:
    """Each window's connection, number, sizes, times."""
    windows, found = capture.windows, []
    for i in range(len(windows)):
        length = windows.series.lengths[i]
        sizes, times = windows.series.sizes[i, :length].tolist(), windows.series.times[i, :length].tolist()
        found.append((int(windows.connection[i]), int(windows.window[i]), sizes, times))
    return found


def datagrams(*steps: tuple[int, bool, int], sport=40_000, dport=9999) -> list[Packet]:
    """Ethernet frames of UDP: µs, from the originator, bytes."""
    ends = {True: (A, sport, B, dport), False: (B, dport, A, sport)}
    return framed([Packet(time, udp(*ends[there], size)) for time, there, size in steps])


def endpoints(capture) -> list[tuple[str, int, str, int]]:
    table = capture.connections
    orig, resp = table.addresses(slice(None))
    return list(zip(orig, table.orig_p.tolist(), resp, table.resp_p.tolist(), strict=True))


# Files


@pytest.mark.parametrize(
    "file",
    [
        pcap(framed(conversation())),
        pcap(framed(conversation()), order=">"),
        pcap(framed(conversation()), nanoseconds=True),
        pcapng(framed(conversation())),
        pcapng(framed(conversation()), order=">"),
        gzip.compress(pcap(framed(conversation()))),
        zstandard.compress(pcapng(framed(conversation()))),
        lz4.frame.compress(pcap(framed(conversation()))),
    ],
    ids=["pcap", "big-endian", "nanoseconds", "pcapng", "pcapng big-endian", "gzip", "zstd", "lz4"],
)
def test_every_kind_of_file_gives_the_same(file):
    capture = read(file)
    assert series(capture) == [(0, 0, SIZES, TIMES)]
    assert endpoints(capture) == [(A, 40_000, B, 443)]
    assert capture.connections.ts[0] == START
    assert capture.windows.ts[0] == START + 30_000
    assert (capture.connections.orig_pkts[0], capture.connections.resp_pkts[0]) == (6, 4)
    assert capture.counts == {"packets": 10}
    assert not capture.warnings


def test_a_path_and_a_stream_give_the_same(tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(framed(conversation())))
    assert series(read_capture(path)) == series(read(path.read_bytes()))
    assert read_capture(path).name == str(path)


def test_progress_is_told_in_bytes_of_the_file_and_packets():
    told = []
    data = pcap(framed(conversation()))
    read(data, progress=lambda *progress: told.append(progress))
    assert told[-1] == (len(data), 10)


def test_a_capture_larger_than_a_piece_is_read_whole():
    packets = datagrams(*((i * 1000, True, 1400) for i in range(6000)))
    capture = read(pcap(packets))
    assert capture.connections.orig_pkts.tolist() == [6000]
    assert [window for _, window, _, _ in series(capture)] == [0, 1, 2]


def test_without_packets_there_is_nothing():
    for empty in (pcap([]), pcapng([])):
        capture = read(empty)
        assert len(capture.connections) == len(capture.windows) == 0


# Layers below TCP and UDP


def vlan(number: int) -> bytes:
    return struct.pack(">HH", 0x8100, number)


@pytest.mark.parametrize(
    ("linktype", "header"),
    [
        (1, ethernet),
        (1, lambda p: ethernet(p, vlan(5))),
        (1, lambda p: ethernet(p, b"\x88\xa8\0\x07", vlan(5))),
        (1, lambda p: bytes(12) + b"\x88\x47" + b"\0\1\1\x40" + p),
        (1, lambda p: bytes(12) + b"\x88\x64\x11\0\0\1" + struct.pack(">H", len(p) + 2) + b"\0\x21" + p),
        (RAW, lambda p: p),
        (12, lambda p: p),
        (228, lambda p: p),
        (COOKED, lambda p: bytes(14) + b"\x08\x00" + p),
        (COOKED2, lambda p: b"\x08\x00" + bytes(18) + p),
        (NULL, lambda p: b"\2\0\0\0" + p),
        (108, lambda p: b"\0\0\0\2" + p),
    ],
    ids=["ethernet", "vlan", "qinq", "mpls", "pppoe", "raw", "raw-12", "ipv4", "sll", "sll2", "null", "loop"],
)
def test_what_lies_below_makes_no_difference(linktype, header):
    packets = [Packet(p.time, header(p.data)) for p in conversation()]
    assert series(read(pcap(packets, linktype))) == [(0, 0, SIZES, TIMES)]


def test_ipv6():
    capture = read(pcap(framed(conversation(A6, B6))))
    assert endpoints(capture) == [(A6, 40_000, B6, 443)]
    assert capture.connections.is_ipv6.all()
    assert series(capture) == [(0, 0, SIZES, TIMES)]


def test_extension_headers_are_no_payload():
    options = b"\x11\0\x01\x04\0\0\0\0"
    packet = udp(A6, 4000, B6, 5000, 77, extension=options)
    assert series(read(pcap(framed([Packet(0, packet)])))) == [(0, 0, [77], [0])]


def test_sizes_are_the_packets_own_not_what_was_captured():
    packets = [Packet(p.time, p.data, 60) for p in framed(conversation())]
    assert series(read(pcap(packets))) == [(0, 0, SIZES, TIMES)]


def test_padding_of_short_frames_is_no_payload():
    packets = [Packet(p.time, p.data.ljust(60, b"\0")) for p in framed(conversation())]
    assert series(read(pcap(packets))) == [(0, 0, SIZES, TIMES)]


def test_fragments_count_once_and_whole():
    whole = udp(A, 4000, B, 5000, 3000)
    body = whole[20:]
    pieces = [ip(A, B, 17, body[at : at + 1480], identity=7, fragment=(at < 2960) << 13 | at // 8)
              for at in (0, 1480, 2960)]  # fmt: skip
    # Out of order: the last to come completes it.
    packets = framed([Packet(i * 10, pieces[which]) for i, which in enumerate((2, 0, 1))])
    capture = read(pcap([*packets, *framed([Packet(500, udp(A, 4000, B, 5000, 10))])]))
    assert series(capture) == [(0, 0, [3000, 10], [0, 480])]
    assert capture.counts["fragment"] == 2


@pytest.mark.parametrize(
    "outer",
    [
        lambda p: ip("192.0.2.1", "192.0.2.2", 4, p),
        lambda p: ip("192.0.2.1", "192.0.2.2", 47, b"\0\0\x08\0" + p),
        lambda p: udp("192.0.2.1", 50_000, "192.0.2.2", 4789, payload=b"\x08" + bytes(7) + ethernet(p)),
        lambda p: udp("192.0.2.1", 50_000, "192.0.2.2", 6081, payload=b"\0\0\x65\x58" + bytes(4) + ethernet(p)),
        lambda p: udp("192.0.2.1", 50_000, "192.0.2.2", 5072, payload=b"\x44\x52\x11\x04" + bytes(40) + p),
    ],
    ids=["ip in ip", "gre", "vxlan", "geneve", "ayiya"],
)
def test_what_is_inside_a_tunnel_is_a_connection_of_its_own(outer):
    packets = framed([Packet(p.time, outer(p.data)) for p in conversation()])
    capture = read(pcap(packets))
    inner = endpoints(capture).index((A, 40_000, B, 443))
    assert (inner, 0, SIZES, TIMES) in series(capture)


def test_wrong_checksums_are_left_out_and_counted_or_kept_when_told():
    packets = framed(conversation())
    wrong = bytearray(packets[4].data)
    wrong[-1] ^= 1
    packets[4] = Packet(packets[4].time, bytes(wrong))
    capture = read(pcap(packets))
    assert series(capture) == [(0, 0, [100, -1000, 50], [0, 20_000, 30_000])]
    assert capture.counts["bad_tcp_checksum"] == 1
    assert series(read(pcap(packets), checksums=False)) == [(0, 0, SIZES, TIMES)]


def test_packets_that_are_no_ip_are_counted():
    capture = read(pcap([Packet(0, bytes(12) + b"\x08\x06" + bytes(46))]))
    assert capture.counts == {"packets": 1, "not_ip": 1}


# Windows


def test_a_window_holds_32_packets_with_payload():
    (window,) = series(read(pcap(datagrams(*((i, True, 9) for i in range(200))))))
    assert window == (0, 0, [9] * 32, list(range(32)))


def test_a_window_ends_with_the_64th_packet_payload_or_not():
    ends = A, 40_000, B, 9999
    packets = [Packet(0, tcp(*ends, SYN, seq=0))]
    packets += [Packet(i, tcp(*ends, ACK, 0, seq=1)) for i in range(1, 62)]
    packets += [Packet(i, tcp(*ends, ACK | PSH, 5, seq=1 + 5 * (i - 62))) for i in range(62, 70)]
    assert series(read(pcap(framed(packets)))) == [(0, 0, [5, 5], [0, 1])]


def test_a_packet_60_seconds_after_the_first_is_in_the_window_and_one_later_is_not():
    steps = [(0, True, 1), (30_000_000, True, 2), (60_000_000, True, 3), (60_000_001, True, 4)]
    assert series(read(pcap(datagrams(*steps)))) == [(0, 0, [1, 2, 3], [0, 30_000_000, 60_000_000])]


def test_a_late_packet_ends_the_window_for_those_after_it():
    steps = [(0, True, 1), (50_000_000, True, 2), (61_000_000, True, 3), (61_000_001, True, 4)]
    assert series(read(pcap(datagrams(*steps)))) == [(0, 0, [1, 2], [0, 50_000_000])]


def test_later_windows_begin_with_the_257th_packet():
    capture = read(pcap(datagrams(*((i * 10, i % 2 == 0, i + 1) for i in range(320)))))
    _, second = series(capture)
    assert second[:2] == (0, 1)
    assert second[2] == [n if n % 2 else -n for n in range(257, 289)]
    assert second[3] == [i * 10 for i in range(32)]
    assert capture.windows.ts.tolist() == [START, START + 2560]


def test_empty_datagrams_count_but_are_not_in_the_series():
    capture = read(pcap(datagrams((0, True, 0), (5, False, 8), (9, True, 0))))
    assert series(capture) == [(0, 0, [-8], [0])]
    assert (capture.connections.orig_pkts[0], capture.connections.resp_pkts[0]) == (2, 1)


def test_time_never_goes_back():
    capture = read(pcap(datagrams((1000, True, 1), (400, False, 2), (1500, True, 3))))
    assert series(capture) == [(0, 0, [1, -2, 3], [0, 0, 500])]


# Connections


def test_a_minute_of_silence_ends_a_udp_connection():
    capture = read(pcap(datagrams((0, True, 1), (59_000_000, True, 2), (120_000_000, False, 3))))
    assert endpoints(capture) == [(A, 40_000, B, 9999), (B, 9999, A, 40_000)]
    assert series(capture) == [(0, 0, [1, 2], [0, 59_000_000]), (1, 0, [3], [0])]


def test_five_minutes_of_silence_end_a_tcp_connection():
    packets = conversation()[:7]
    late = tcp(B, 443, A, 40_000, ACK | PSH, 7, seq=7000, ack=1150)
    for pause, connections in ((299_000_000, 1), (301_000_000, 2)):
        capture = read(pcap(framed([*packets, Packet(60_000 + pause, late)])))
        assert endpoints(capture) == [(A, 40_000, B, 443)] * connections


def test_a_port_used_again_after_the_end_is_another_connection():
    again = [Packet(p.time + 1_000_000, p.data) for p in conversation()]
    packets = [*conversation(), *again]
    capture = read(pcap(framed(packets)))
    assert series(capture) == [(0, 0, SIZES, TIMES), (1, 0, SIZES, TIMES)]
    assert len({capture.connections.uid(row) for row in range(2)}) == 2


def test_a_port_used_again_after_a_reset_is_another_connection():
    reset = Packet(75_000, tcp(B, 443, A, 40_000, RST, seq=7000))
    again = [Packet(p.time + 200_000, p.data) for p in conversation()]
    capture = read(pcap(framed([*conversation()[:7], reset, *again])))
    assert len(capture.connections) == 2


def test_who_sends_a_syn_ack_first_is_the_responder():
    capture = read(pcap(framed(conversation()[1:])))
    assert endpoints(capture) == [(A, 40_000, B, 443)]
    assert series(capture) == [(0, 0, SIZES, TIMES)]


def test_seen_from_the_middle_a_well_known_port_is_the_responders():
    capture = read(pcap(framed(conversation()[4:])))
    assert endpoints(capture) == [(A, 40_000, B, 443)]
    assert series(capture) == [(0, 0, SIZES[1:], [0, 10_000, 20_000])]


def test_seen_from_the_middle_without_one_the_first_sender_is_the_originator():
    capture = read(pcap(framed(conversation(dport=40_001)[4:])))
    assert endpoints(capture) == [(B, 40_001, A, 40_000)]
    assert series(capture) == [(0, 0, [1000, 1000, -50], [0, 10_000, 20_000])]


def test_connections_are_in_order_of_their_first_packet():
    packets = sorted(
        framed(conversation(sport=50_000, start=5) + conversation(sport=1025, start=9) + conversation(sport=60_000)),
        key=lambda p: p.time,
    )
    capture = read(pcap(packets))
    assert capture.connections.orig_p.tolist() == [60_000, 50_000, 1025]
    assert series(capture) == [(row, 0, SIZES, TIMES) for row in range(3)]


def test_identifiers_look_like_zeeks_and_stay_the_same():
    uids = [read(pcap(framed(conversation()))).connections.uid(0) for _ in range(2)]
    assert uids[0] == uids[1]
    assert len(uids[0]) == 18 and uids[0][0] == "C" and uids[0].isalnum()


def test_a_connection_that_lacks_data_before_its_fin_is_not_closed_yet():
    fin = 1

    def capture(missing: bool):
        there, back = (A, 40_000, B, 443), (B, 443, A, 40_000)
        packets = [
            Packet(0, tcp(*there, SYN, seq=99)),
            Packet(1_000, tcp(*back, SYN | ACK, seq=199, ack=100)),
            Packet(2_000, tcp(*there, ACK | PSH, 10, seq=100, ack=200)),
            Packet(3_000, tcp(*there, ACK | fin, seq=110, ack=200)),
            # Eight bytes before the FIN come late, if they are missing.
            Packet(4_000, tcp(*back, ACK | fin, seq=208 if missing else 200, ack=111)),
            Packet(12_000_000, tcp(*back, ACK | PSH, 8, seq=200, ack=111)),
        ]
        return read(pcap(framed(packets)))

    assert len(capture(missing=True).connections) == 1
    assert len(capture(missing=False).connections) == 2
