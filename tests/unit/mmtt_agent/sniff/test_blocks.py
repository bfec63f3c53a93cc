"""Blocks as the kernel fills them, made here byte by byte, to records."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from made_captures import A, B, conversation, ethernet, udp

from mmtt_agent.capture.packets import Decoder
from mmtt_agent.capture.records import PADDING
from mmtt_agent.sniff.blocks import Blocks

SIZE = 1 << 16
CSUM_NOT_READY, CSUM_VALID, VLAN_VALID = 8, 128, 16


def block(*packets: tuple[bytes, int, int, int], begins: int = 82) -> np.ndarray:
    """A block, with junk where the kernel leaves what was there. Packets: bytes, ns, bytes on the wire, status."""
    data = bytearray(b"\xa5" * SIZE)
    at = 48
    for number, (packet, time, wire, status) in enumerate(packets):
        size = begins + len(packet) + 7 & ~7
        following = size if number < len(packets) - 1 else 0
        seconds, nanoseconds = divmod(time, 1_000_000_000)
        header = struct.pack("6I2H", following, seconds, nanoseconds, len(packet), wire, status, begins, begins + 14)
        data[at : at + 28] = header
        data[at + begins : at + begins + len(packet)] = packet
        at += size
    data[:24] = struct.pack("6I", 1, 0, 1, len(packets), 48, at)
    return np.frombuffer(data, np.uint8)


def simple(*packets: bytes, status: int = 1) -> np.ndarray:
    return block(*((packet, 10**9 * number, len(packet), status) for number, packet in enumerate(packets)))


def contents(records) -> list[bytes]:
    return [records.data[at : at + size].tobytes() for at, size in zip(records.start, records.captured, strict=True)]


def test_packets_come_whole_and_in_order_with_their_times_and_lengths():
    blocks = Blocks(SIZE, 1)
    packets = [bytes([number]) * (60 + number) for number in range(100)]
    times = [1_795_840_068_123_456_999 + 1_700_000_001 * number for number in range(100)]
    assert blocks.add(block(*((p, t, len(p) + 7, 1) for p, t in zip(packets, times, strict=True))))
    records = blocks.records()
    assert contents(records) == packets
    assert records.time.tolist() == [time // 1000 for time in times]
    assert records.wire.tolist() == [len(packet) + 7 for packet in packets]
    assert set(records.linktype.tolist()) == {1}


def test_zeros_follow_the_last_packet_whatever_was_there_before():
    blocks = Blocks(2 * SIZE, 1)
    for packets in ([b"x" * 9000] * 7, [b"y" * 60]):
        blocks.add(simple(*packets))
        records = blocks.records()
        assert not records.data[-PADDING:].any()
        end = int(records.start[-1] + records.captured[-1])
        assert len(records.data) - PADDING - 8 <= end <= len(records.data) - PADDING


def test_blocks_are_put_together_as_long_as_there_is_room():
    blocks = Blocks(SIZE, 1)
    first, second = simple(*[b"a" * 9001] * 3), simple(*[b"b" * 9002] * 3)
    assert blocks.add(first) and blocks.add(second)
    assert not blocks.add(first)
    assert contents(blocks.records()) == [b"a" * 9001] * 3 + [b"b" * 9002] * 3
    assert blocks.records() is None
    assert blocks.add(first)
    assert contents(blocks.records()) == [b"a" * 9001] * 3


def test_a_packet_of_64_kib_fits():
    blocks = Blocks(2 * SIZE, 1)
    data = bytearray(bytes(2 * SIZE))
    data[:24] = struct.pack("6I", 1, 0, 1, 1, 48, 48 + 82 + 65_549)
    data[48:76] = struct.pack("6I2H", 0, 1, 2, 65_549, 65_549, 1, 82, 96)
    data[48 + 82 : 48 + 82 + 65_549] = b"z" * 65_549
    assert blocks.add(np.frombuffer(data, np.uint8))
    assert contents(blocks.records()) == [b"z" * 65_549]


@pytest.mark.parametrize(
    ("status", "trusted"),
    [(1, False), (1 | VLAN_VALID, False), (1 | CSUM_VALID, True), (1 | CSUM_NOT_READY, True)],
)
def test_what_the_kernel_vouches_for_is_trusted(status, trusted):
    blocks = Blocks(SIZE, 1)
    wrong = bytearray(ethernet(udp(A, 1, B, 2, 30)))
    wrong[-1] ^= 1
    blocks.add(simple(bytes(wrong), status=status))
    records = blocks.records()
    assert records.trusted.tolist() == [trusted]
    decoder = Decoder()
    decoder.decode(records, 0, records.time)
    assert decoder.counts() == ({} if trusted else {"bad_udp_checksum": 1})


def test_the_decoder_finds_the_connection_in_a_block():
    blocks = Blocks(SIZE, 1)
    blocks.add(simple(*(ethernet(packet.data) for packet in conversation())))
    records = blocks.records()
    segments = Decoder().decode(records, 0, records.time)
    assert segments.payload.tolist() == [0, 0, 0, 100, 1000, 1000, 50, 0, 0, 0]
