"""Captures whose times are odd: what Zeek makes of them, and what is told."""

from __future__ import annotations

import io
import struct

import pytest
from made_captures import START, A, B, Packet, block, conversation, framed, pcap, pcapng, section, udp

from mmtt_agent.capture import CaptureError, read_capture

YEAR = 31_536_000_000_000


def read(data: bytes):
    return read_capture(io.BytesIO(data), name="x.pcap")


def talk(*times: int) -> list[Packet]:
    """Datagrams by turns from both sides, each a byte longer than the one before."""
    ends = [(A, 50_000, B, 9999), (B, 9999, A, 50_000)]
    return framed([Packet(time, udp(*ends[i % 2], size=100 + i)) for i, time in enumerate(times)])


def sizes(capture) -> list[list[int]]:
    return [
        row[:n].tolist() for row, n in zip(capture.windows.series.sizes, capture.windows.series.lengths, strict=True)
    ]


def test_one_wrong_time_in_the_future_begins_one_connection_and_not_one_a_packet():
    times = [i * 1000 + (5 * YEAR if i == 4 else 0) for i in range(12)]
    capture = read(pcap(talk(*times)))
    assert sizes(capture) == [[100, -101, 102, -103], [104, -105, 106, -107, 108, -109, 110, -111]]
    # The clock stands still from then on.
    assert capture.windows.series.times[1].max() == 0


def test_times_that_go_back_are_told_with_how_far_and_what_helps():
    (warning,) = read(pcap(talk(0, 3_000_000, 1_500_000, 2_000_000, 4_000_000))).warnings
    assert warning.startswith("x.pcap: time goes back at 2 of 5 packets, by up to 1.5 s, ")
    assert "reordercap FILE ordered.pcap" in warning and "editcap" in warning


def test_the_command_that_helps_names_the_file(tmp_path):
    path = tmp_path / "a b.pcap"
    path.write_bytes(pcap(talk(1000, 0)))
    (warning,) = read_capture(path).warnings
    assert f"reordercap '{path}' ordered.pcap" in warning


def test_times_that_only_go_on_are_not_told():
    assert not read(pcap(talk(0, 0, 5, 5, 60_000_000))).warnings


def at_second(seconds: int, packets: list[Packet]) -> bytes:
    data = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
    for packet in packets:
        data += [struct.pack("<IIII", seconds, packet.time, len(packet.data), len(packet.data)), packet.data]
    return b"".join(data)


def test_a_pcap_from_after_2038_is_an_error_with_what_helps():
    with pytest.raises(CaptureError) as error:
        read(at_second(2_210_000_000, talk(0, 1, 2)))
    assert str(error.value).startswith("x.pcap: 3 of 3 packets are from after 2038-01-19")
    assert "editcap -F pcapng FILE converted.pcapng" in str(error.value)


def test_packets_from_after_2038_are_told_and_the_others_read():
    early, late = at_second(2_000_000_000, talk(0, 1, 2)), at_second(2_210_000_000, talk(0, 1))[24:]
    capture = read(early + late)
    assert sizes(capture) == [[100, -101, 102]]
    (warning,) = capture.warnings
    assert warning.startswith("x.pcap: 2 of 5 packets are from after 2038-01-19")
    assert capture.counts["after_2038"] == 2


def test_a_pcapng_from_after_2038_is_read():
    years = 30 * YEAR
    capture = read(pcapng([Packet(p.time + years, p.data) for p in framed(conversation())]))
    assert capture.connections.ts[0] == START + years
    assert not capture.warnings


def test_a_record_without_a_byte_does_not_move_the_clock():
    packets = talk(0, 1000, 2000)
    capture = read(pcap([packets[0], Packet(1500, b""), *packets[1:]]))
    assert capture.windows.series.times[0, :3].tolist() == [0, 1000, 2000]
    assert not capture.warnings


def stamped(ticks: int, options: bytes = b"") -> bytes:
    """A pcapng file of five datagrams at these ticks; options of the interface."""
    parts = [section(), block(1, struct.pack("<HHI", 1, 0, 0) + options)]
    for i, packet in enumerate(talk(0, 1, 2, 3, 4)):
        head = struct.pack("<IIIII", 0, ticks + i >> 32, ticks + i & 0xFFFFFFFF, len(packet.data), len(packet.data))
        parts.append(block(6, head + packet.data))
    return b"".join(parts)


def resolution(code: int) -> bytes:
    return struct.pack("<HHB3x", 9, 1, code)


def offset(seconds: int) -> bytes:
    return struct.pack("<HHq", 14, 8, seconds)


@pytest.mark.parametrize(
    "data",
    [
        stamped(0xFFFFFFFFFFFFFFEB),
        stamped(0xFFFFFFFFFFFFFFEB, resolution(0)),
        stamped(1 << 62, resolution(3)),
        stamped(START, offset(2**63 - 1)),
        stamped(START, offset(-(2**63))),
        stamped(START * 1000, resolution(9) + offset(2**63 - 1)),
        stamped(START, resolution(18) + offset(2**63 - 1)),
    ],
)
def test_a_time_that_cannot_be_is_called_that(data):
    capture = read(data)
    assert capture.left_out == (
        "left out of 5 packets: 5 with a time that can't be (more than 100,000 years from 1970)"
    )
    assert not len(capture.windows) and not capture.warnings


def test_far_times_that_can_be_are_read():
    far = 90_000 * YEAR
    assert read(stamped(far)).windows.ts.tolist() == [far]
    assert read(stamped(1, offset(far // 1_000_000))).windows.ts.tolist() == [far + 1]
    assert "5 from before 1970" in read(stamped(START, offset(-1_800_000_000))).left_out


def test_a_time_that_cannot_be_costs_only_its_own_packet():
    header = len(section()) + len(block(1, bytes(8)))
    capture = read(stamped(START) + stamped(0xFFFFFFFFFFFFFFEB)[header:] + stamped(START + 5)[header:])
    assert sizes(capture) == [[100, -101, 102, -103, 104, 100, -101, 102, -103, 104]]
    assert capture.left_out.startswith("left out of 15 packets: 5 with a time that can't be")
