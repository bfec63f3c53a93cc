"""Whether a capture file can be read to its end, and else to where: what libpcap refuses is never called whole."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from made_captures import START, conversation, framed, pcap, pcapng
from places import DATA

from mmtt_agent.agent import capture_end
from mmtt_agent.agent.capture_end import UNCLEAR, WHOLE

PACKETS = framed(conversation())
FORMS = {
    "pcap": pcap(PACKETS),
    "big-endian": pcap(PACKETS, order=">"),
    "nanoseconds": pcap(PACKETS, nanoseconds=True),
    "pcapng": pcapng(PACKETS),
    "pcapng, big-endian": pcapng(PACKETS, order=">"),
}


@pytest.fixture
def look(tmp_path):
    """What is said of a file with these bytes."""

    def look(content: bytes) -> str:
        path = tmp_path / "capture"
        path.write_bytes(content)
        return capture_end.look(str(path))

    return look


@pytest.mark.parametrize("form", FORMS)
def test_whole_files_are(look, form):
    assert look(FORMS[form]) == WHOLE


@pytest.mark.parametrize("form", FORMS)
def test_cut_off_in_a_packet_it_is_told_when_the_one_before_came(look, form):
    content = FORMS[form]
    order = ">" if "big" in form else "<"
    ends, at = {}, 24
    if "pcapng" in form:
        at = struct.unpack_from(order + "I", content, 4)[0]
        at += struct.unpack_from(order + "I", content, at + 4)[0]
    begin = at
    for packet in PACKETS:
        at += 16 + len(packet.kept) if "pcapng" not in form else struct.unpack_from(order + "I", content, at + 4)[0]
        ends[at] = f"{(START + packet.time) // 10**6}.{(START + packet.time) % 10**6:06d}"
    assert at == len(content)
    for size in range(begin + 1, len(content)):
        before = [ends[end] for end in ends if end <= size]
        expected = WHOLE if size in ends else f"breaks off after {before[-1]}" if before else UNCLEAR
        assert look(content[:size]) == expected, size


def block(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
ETHERNET = block(1, struct.pack("<HHI", 1, 0, 262144))
PACKET = block(6, struct.pack("<IIIII", 0, 0, 0, 60, 60) + bytes(60))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a" + bytes(60),
        FORMS["pcap"][:24] + struct.pack("<IIII", 0, 0, 300_000, 300_000) + bytes(300_000),
        FORMS["pcap"][:24] + b"\xff" * 40,
        SECTION + PACKET,
        SECTION + ETHERNET + block(6, struct.pack("<IIIII", 1, 0, 0, 60, 60) + bytes(60)),
        SECTION + ETHERNET + block(6, struct.pack("<IIIII", 0, 0, 0, 64, 64) + bytes(60)),
        SECTION + ETHERNET + block(1, struct.pack("<HHI", 101, 0, 262144)) + PACKET,
        SECTION + ETHERNET + PACKET[:-4] + bytes(4),
        SECTION + block(1, struct.pack("<HHIHHB3x", 1, 0, 262144, 9, 1, 0xFF)) + PACKET,
    ],
    ids=[
        "empty",
        "no-capture",
        "too-long-a-packet",
        "rubbish-for-a-header",
        "no-interface",
        "another-interface",
        "longer-than-its-block",
        "two-link-types",
        "lengths-differ",
        "unit-of-time",
    ],
)
def test_what_libpcap_refuses_is_not_whole(look, content):
    assert look(content) != WHOLE


def test_a_packet_that_cant_be_is_where_it_breaks_off(look):
    content = FORMS["pcap"] + struct.pack("<IIII", 0, 0, 300_000, 300_000) + bytes(300_000)
    assert look(content).startswith("breaks off after 1700000000.")


def test_times_that_go_back_make_it_unclear(look):
    assert look(pcap(PACKETS[::-1])[:-1]) == UNCLEAR


def test_more_that_is_whole(look):
    assert look(SECTION + ETHERNET * 2 + PACKET + block(5, bytes(12)) + SECTION + ETHERNET + PACKET) == WHOLE


def test_a_pipe_is_not(tmp_path):
    os.mkfifo(path := tmp_path / "pipe")
    writer = os.open(path, os.O_RDWR)
    assert capture_end.look(str(path)) == UNCLEAR
    os.close(writer)


@pytest.mark.parametrize("name", ["lab.pcap", "nothing-here.pcap", "-"])
def test_as_a_program_it_tells(tmp_path, name):
    path = DATA / name
    if path.exists():
        path = tmp_path / "it's $(touch x) \u00e9.pcap"
        path.write_bytes((DATA / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", capture_end.__file__, path], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"mmtt: capture {'whole' if name == 'lab.pcap' else 'unclear'}\n", "")
    assert not Path("x").exists()
