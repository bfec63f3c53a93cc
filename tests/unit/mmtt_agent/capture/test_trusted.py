"""Checksums that are not to be checked, packet by packet (Records.trusted)."""

from __future__ import annotations

import io

import numpy as np
import pytest
from made_captures import A6, ACK, B6, A, B, Packet, framed, ip, pcap, tcp, transport, udp

from mmtt_agent.capture.files import CaptureFile
from mmtt_agent.capture.packets import Decoder
from mmtt_agent.capture.segments import COUNTED


def spoilt(packet: bytes, at: int) -> bytes:
    return packet[:at] + bytes([packet[at] ^ 0x5A]) + packet[at + 1 :]


def read(packets: list[bytes]):
    data = pcap(framed([Packet(number, packet) for number, packet in enumerate(packets)]))
    (records,) = CaptureFile(io.BytesIO(data), "test.pcap")
    return records


def decode(records, trusted=None, checksums=True):
    """The segments that count, by their packet's number, and what was left out."""
    records.trusted = trusted
    decoder = Decoder(checksums)
    segments = decoder.decode(records, 0, records.time)
    return segments.row[segments.state & COUNTED != 0].tolist(), decoder.counts()


WRONG = {
    "bad_ip_checksum": spoilt(tcp(A, 1, B, 2, ACK, 10), 10),
    "bad_ip_checksum, IP options": b"\x46" + tcp(A, 1, B, 2, ACK, 10)[1:20] + bytes(4) + tcp(A, 1, B, 2, ACK, 6)[20:],
    "bad_tcp_checksum": spoilt(tcp(A, 1, B, 2, ACK, 10), 36),
    "bad_tcp_checksum, IPv6": spoilt(tcp(A6, 1, B6, 2, ACK, 10), 56),
    "bad_udp_checksum": spoilt(udp(A, 1, B, 2, 10), 26),
    "bad_udp_checksum, IPv6": spoilt(udp(A6, 1, B6, 2, 10), 46),
}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_checksum_counts_only_where_it_is_to_be_checked(which):
    cause = which.split(",")[0]
    right = udp(A, 5, B, 6, 20)
    records = read([WRONG[which], right, WRONG[which], right])
    assert decode(records) == ([1, 3], {cause: 2})
    assert decode(records, np.array([False] * 4)) == ([1, 3], {cause: 2})
    assert decode(records, np.array([True] * 4)) == ([0, 1, 2, 3], {})
    assert decode(records, np.array([False, True, True, False])) == ([1, 2, 3], {cause: 1})
    assert decode(records, np.array([False] * 4), checksums=False) == ([0, 1, 2, 3], {})


def test_an_ip_length_that_is_not_yet_filled_in_is_taken_from_the_packet_where_it_is_trusted():
    whole = bytearray(tcp(A, 1, B, 2, ACK, 100))
    whole[2:4] = b"\0\0"
    records = read([bytes(whole)])
    assert decode(records) == ([], {"ip_length_zero": 1})
    assert decode(records, np.array([True])) == ([0], {})
    segments = Decoder().decode(records, 0, records.time)
    assert segments.payload.tolist() == [100]


def test_picked_records_keep_what_is_trusted_of_them():
    records = read([udp(A, 1, B, 2, size) for size in (1, 2, 3)])
    assert records[np.array([True, False, True])].trusted is None
    records.trusted = np.array([True, False, False])
    assert records[np.array([True, False, True])].trusted.tolist() == [True, False]


def test_inner_packets_are_trusted_with_their_outer_one():
    inner = spoilt(udp(A, 1, B, 2, 10), 26)
    body = bytes.fromhex("c00012b500000000") + bytes([8, 0, 0, 0, 0, 0, 5, 0]) + bytes(12) + b"\x08\x00" + inner
    outer = ip(A, B, 17, transport(A, B, 17, body[:4] + len(body).to_bytes(2, "big") + body[6:], 6))
    records = read([outer])
    assert decode(records)[1] == {"bad_udp_checksum": 1}
    rows, counts = decode(records, np.array([True]))
    assert rows == [0, 0] and counts == {}
