"""No packet of a capture is left out without a word."""

from __future__ import annotations

import io
import struct

import pytest
from made_captures import (
    A6,
    ACK,
    B6,
    A,
    B,
    Packet,
    conversation,
    ethernet,
    framed,
    interface,
    ip,
    packet_block,
    pcap,
    pcapng,
    section,
    tcp,
    udp,
)

from mmtt_agent.capture import CaptureError, read_capture

CONVERSATION = framed(conversation())
INNER = udp(A, 4000, B, 5000, 30)


def read(data: bytes, **options):
    return read_capture(io.BytesIO(data), name="x.pcap", **options)


def of_type(ethertype: int, body: bytes = bytes(46)) -> bytes:
    return bytes(12) + struct.pack(">H", ethertype) + body


def without_length(frame: bytes, at: int = 16) -> bytes:
    return frame[:at] + b"\0\0" + frame[at + 2 :]


LEFT_OUT = {
    "not IP (ARP)": of_type(0x0806),
    "not IP (LLDP)": of_type(0x88CC),
    "not IP (EtherType 0x1234)": of_type(0x1234),
    "not IP (STP)": of_type(38, b"\x42\x42\x03" + bytes(43)),
    "not IP (802.2)": of_type(3, b"\xe0\xe0\x03" + bytes(43)),
    "not IP (PPP LCP)": of_type(0x8864, b"\x11\0\0\1\0\x0a\xc0\x21" + bytes(40)),
    "in a protocol that isn't looked into (PPP compressed TCP)": of_type(0x8864, b"\x11\0\0\1\0\x2a\0\x2d" + bytes(40)),
    "in a protocol that isn't looked into (MACsec)": of_type(0x88E5),
    "in a protocol that isn't looked into (NSH)": of_type(0x894F),
    "in a protocol that isn't looked into (QinQ 0x9200)": of_type(0x9200),
    "in a protocol that isn't looked into (MPLS pseudowire)": of_type(0x8847, b"\0\1\1\x40\0\0\0\0" + ethernet(INNER)),
    "in a protocol that isn't looked into (MPLS in GRE)": ethernet(ip(A, B, 47, b"\0\0\x88\x47\0\1\1\x40" + INNER)),
    "in a protocol that isn't looked into (GRE version 2)": ethernet(ip(A, B, 47, b"\0\2\x08\0" + INNER)),
    "in a protocol that isn't looked into (ESP)": ethernet(ip(A, B, 50, bytes(30))),
    "neither TCP nor UDP (ICMP)": ethernet(ip(A, B, 1, bytes(30))),
    "neither TCP nor UDP (ICMPv6)": ethernet(ip(A6, B6, 58, bytes(30))),
    "neither TCP nor UDP (SCTP)": ethernet(ip(A, B, 132, bytes(30))),
    "neither TCP nor UDP (IP protocol 99)": ethernet(ip(A, B, 99, bytes(30))),
    "with a damaged tunnel header": ethernet(ip(A, B, 47, b"\0\0")),
    "of an IP version other than 4 and 6": of_type(0x0800, b"\x75" + INNER[1:]),
    "with an IP length of 0, as captured before a network card splits them (-C takes them)": without_length(
        ethernet(INNER)
    ),
    "with an IPv6 payload length of 0 (jumbograms, or captured before a network card splits them)": without_length(
        ethernet(tcp(A6, 1, B6, 2, ACK, 30)), 18
    ),
    "cut short before the IP header": of_type(0x0800)[:16],
    "cut short inside the IP packet": ethernet(INNER)[:20],
    "fragments whose others are missing": ethernet(ip(A, B, 17, udp(A, 53, B, 4000, 3000)[20:1500], fragment=1 << 13)),
    "without a byte": b"",
}


@pytest.mark.parametrize("says", LEFT_OUT)
def test_what_is_not_used_is_told_by_reason_and_kind(says):
    capture = read(pcap([*CONVERSATION, Packet(200_000, LEFT_OUT[says])]))
    assert capture.left_out == f"left out of 11 packets: 1 {says}"
    assert capture.windows.series.lengths.tolist() == [4]


def test_what_is_used_is_not_told():
    assert read(pcap(CONVERSATION)).left_out == ""


def test_the_reasons_are_one_line_with_the_most_frequent_kinds():
    numbers = [0x0806] * 4 + [0x88CC] * 3 + [0x8892] * 2 + [0x88F7] * 2 + [0x8137] * 2 + [0x8809] * 2 + [0x88B8]
    frames = [of_type(number) for number in numbers] + [ethernet(ip(A, B, 1, bytes(30)))]
    assert read(pcap([Packet(0, frame) for frame in frames])).left_out == (
        "left out of 17 packets: 16 not IP (ARP 4, LLDP 3, IPX 2, LACP 2, PROFINET 2, PTP 2, others 1), "
        "1 neither TCP nor UDP (ICMP)"
    )


def test_tcp_options_beyond_the_snapshot_length_are_no_damage():
    body = struct.pack(">HHIIBBHHH", 40_000, 443, 1000, 5000, 0x80, ACK, 8192, 0, 0) + bytes(12) + bytes(100)
    cut, damaged = ethernet(ip(A, B, 6, body)), ethernet(ip(A, B, 6, body[:12] + b"\x10" + body[13:]))
    capture = read(pcap([Packet(0, cut, 54), Packet(1, damaged)]))
    assert capture.left_out == (
        "left out of 2 packets: 1 cut short inside the TCP options (by the capture's snapshot length), "
        "1 with a damaged TCP header"
    )


def test_packets_without_a_length_are_taken_when_checksums_are_not_looked_at():
    frames = [Packet(p.time, without_length(p.data) if len(p.data) > 500 else p.data) for p in CONVERSATION]
    assert read(pcap(frames)).windows.series.lengths.tolist() == [2]
    capture = read(pcap(frames), checksums=False)
    assert capture.left_out == ""
    assert capture.windows.series.sizes[0, :4].tolist() == [100, -1000, -1000, 50]


@pytest.mark.parametrize(
    ("linktype", "header", "says"),
    [
        (104, b"\x0f\0\x08\0", "x.pcap: link type 104 (Cisco HDLC) can't be read"),
        (204, b"\1\xff\3\0\x21", "x.pcap: link type 204 (PPP with direction) can't be read"),
        (4242, b"\x41\x88", "x.pcap: link type 4242 can't be read"),
    ],
)
def test_a_link_type_that_cannot_be_read_is_an_error_of_the_file(linktype, header, says):
    with pytest.raises(CaptureError) as error:
        read(pcap([Packet(p.time, header + p.data) for p in conversation()], linktype))
    assert str(error.value).startswith(says) and "; convert it" in str(error.value)


def test_an_unknown_link_type_that_holds_nothing_but_ip_is_read_as_zeek_does():
    assert read(pcap(conversation(), 147)).windows.series.lengths.tolist() == [4]


def test_an_interface_of_a_link_type_that_cannot_be_read_costs_only_its_own_packets():
    bad = [packet_block(Packet(p.time, b"\x0f\0\x08\0" + p.data), of=1) for p in conversation()]
    good = [packet_block(p) for p in CONVERSATION]
    capture = read(section() + interface() + interface(104) + b"".join([*bad, *good]))
    assert capture.left_out == "left out of 20 packets: 10 of a link type that can't be read (104 (Cisco HDLC))"
    assert capture.windows.series.lengths.tolist() == [4]
    assert not capture.problems


@pytest.mark.parametrize(
    ("data", "packets", "numbers"),
    [
        (section() + b"".join(packet_block(p) for p in CONVERSATION), 10, "(0)"),
        (section() + interface() + b"".join(packet_block(p, of=7) for p in CONVERSATION[:4]), 4, "(7)"),
        # Described, but too late, or in another section.
        (section() + interface() + packet_block(CONVERSATION[0], of=1) + interface(), 1, "(1)"),
        (section() + interface() + packet_block(CONVERSATION[0], of=1) + section() + interface(), 1, "(1)"),
    ],
)  # fmt: skip
def test_packets_of_an_interface_that_is_not_described_are_a_problem_of_the_file(data, packets, numbers):
    capture = read(data)
    (problem,) = capture.problems
    assert problem.startswith("x.pcap: damaged at byte ") and f": {packets} packet" in problem
    assert f"an interface that the file does not describe {numbers}; " in problem and "\n" not in problem
    assert capture.counts["no_interface"] == packets


def test_packets_longer_than_their_blocks_are_a_problem_of_the_file():
    parts = [packet_block(p, more=5000 * (i == 5)) for i, p in enumerate(CONVERSATION)]
    capture = read(section() + interface() + b"".join(parts))
    (problem,) = capture.problems
    assert "1 packet is longer than the block that should hold it; only what is in the block was read" in problem
    assert capture.counts["packets"] == 10
    # As Zeek does.
    assert capture.windows.series.lengths.tolist() == [4]


def test_no_capture_of_the_projects_own_has_problems(tmp_path):
    path = tmp_path / "a.pcapng"
    path.write_bytes(pcapng(CONVERSATION))
    capture = read_capture(path)
    assert not capture.problems and not capture.warnings and not capture.left_out
