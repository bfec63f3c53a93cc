"""Captures that are cut off, damaged or none at all: one clear line, or what can be read of them."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from made_captures import A6, B6, RAW, A, B, Packet, conversation, ethernet, framed, ip, pcap, pcapng, udp
from places import DATA

from mmtt_agent.capture import CaptureError, read_capture

OFFICE = (DATA / "office.pcap").read_bytes()
WHOLE = pcap(framed(conversation()))


def read(data: bytes):
    return read_capture(io.BytesIO(data), name="x.pcap")


def scratched(data: bytes, at: int) -> bytes:
    return data[:at] + b"\xff" * 400 + data[at + 400 :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "x.pcap: empty (0 bytes)"),
        (b"\xd4\xc3", "x.pcap: ends after 2 bytes"),
        (b"#!/bin/sh\n", "x.pcap: not a capture: starts with 23 21 2f 62"),
        (WHOLE[:20], "x.pcap: ends inside the file header, at byte 20"),
        (pcapng([])[:20], "x.pcap: ends inside the section header, at byte 20"),
        (gzip.compress(b""), "x.pcap: empty (0 bytes of decompressed data)"),
        (scratched(gzip.compress(OFFICE), 5000), "x.pcap: the compressed data is damaged near byte"),
        (scratched(zstandard.compress(OFFICE), 10), "x.pcap: the compressed data is damaged near byte"),
        (WHOLE[:94] + b"\xff" * 60 + WHOLE[154:], "x.pcap: damaged at byte 94: a packet of 4294967295 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_gets_one_line_with_place_and_remedy(data, says):
    with pytest.raises(CaptureError) as error:
        read(data)
    assert str(error.value).startswith(says)
    assert "; " in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_and_a_directory(tmp_path):
    for path, says in ((tmp_path / "no.pcap", "No such file"), (tmp_path, "directory")):
        with pytest.raises(CaptureError, match=says) as error:
            read_capture(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_cut_off_capture_gives_what_is_before_the_cut_and_a_warning(make):
    data = make(framed(conversation()))
    capture = read(data[:-20])
    assert capture.counts == {"packets": 9, "truncated_tail": 1}
    (warning,) = capture.warnings
    assert warning.startswith("x.pcap: ends in the middle of the packet at byte")
    assert capture.windows.series.lengths.tolist() == [4]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_cut_off_compressed_capture_gives_what_is_before_the_cut(pack):
    packed = pack(OFFICE)
    capture = read(packed[: len(packed) // 2])
    assert 0 < capture.counts["packets"] < read(OFFICE).counts["packets"]
    assert capture.counts["truncated_tail"] == 1 and capture.warnings


def _varied() -> list[Packet]:
    inner = conversation(A6, B6)[3].data
    fragment = udp(A, 53, B, 4000, 3000)[20:]
    frames = [
        *(p.data for p in framed(conversation())),
        ethernet(udp(A, 50_000, B, 4789, payload=b"\x08" + bytes(7) + ethernet(inner))),
        ethernet(udp(A, 50_000, B, 2152, payload=b"\x30\xff" + bytes(6) + inner)),
        ethernet(udp(A, 50_000, B, 3544, payload=inner)),
        ethernet(ip(A, B, 47, b"\0\0\x86\xdd" + inner)),
        ethernet(ip(A, B, 17, fragment[:1480], identity=9, fragment=1 << 13)),
        ethernet(ip(A, B, 17, fragment[1480:], identity=9, fragment=185)),
        ethernet(udp(A6, 53, B6, 4000, 30, extension=b"\x11\0\x01\x04\0\0\0\0"), b"\x81\0\0\5"),
        bytes(12) + b"\x88\x64\x11\0\0\1\0\x60\0\x57" + inner,
        bytes(12) + b"\x88\x47\0\1\1\x40" + inner,
    ]
    return [Packet(i * 1000, frame) for i, frame in enumerate(frames)]


SEEDS = [
    pcap(_varied()), pcapng(_varied()), pcap(conversation(), RAW), pcap(_varied(), 113), pcap(_varied(), 105),
    pcap(_varied(), 127), pcap(_varied(), 239), pcap(_varied(), 0), pcap(_varied(), 50), gzip.compress(WHOLE),
    zstandard.compress(WHOLE), OFFICE[:20_000],
]  # fmt: skip

mutations = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "drop", "double"]), st.integers(0, 1 << 16), st.integers(0, 255)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(seed=st.sampled_from(SEEDS), changes=mutations)
def test_whatever_is_in_a_file_it_is_read_or_refused_in_one_line(seed, changes):
    data = bytearray(seed)
    for kind, somewhere, value in changes:
        at = somewhere % max(len(data), 1)
        if kind == "set" and data:
            data[at] = value
        elif kind == "cut" and at > len(data) // 2:
            del data[at:]
        elif kind == "drop":
            del data[at : at + value]
        elif kind == "double":
            data[at:at] = data[at : at + value]
    try:
        capture = read(bytes(data))
    except CaptureError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert "\n" not in refusal
    if refusal:
        return
    lengths = capture.windows.series.lengths
    assert ((lengths >= 1) & (lengths <= 32)).all()
    assert (capture.windows.series.times >= 0).all()
    total = capture.connections.orig_pkts + capture.connections.resp_pkts
    assert (total >= 0).all()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([0, 1, 9, 12, 50, 51, 105, 113, 127, 239, 276]))
def test_whatever_is_in_a_packet_it_is_read(content, linktype):
    capture = read(pcap([Packet(0, content), Packet(1, content[1:])], linktype))
    assert capture.counts["packets"] == 2


@pytest.mark.parametrize(
    ("pack", "command"),
    [
        (bytes, "head -c 94 {}"),
        (gzip.compress, "gzip -dc {} | head -c 94"),
        (zstandard.compress, "zstd -dc --long=31 {} | head -c 94"),
    ],
)
def test_what_is_before_the_damage_can_be_kept_with_the_command_that_is_told(tmp_path, pack, command):
    path = tmp_path / "a capture.pcap"
    path.write_bytes(pack(WHOLE[:94] + b"\xff" * 60 + WHOLE[154:]))
    with pytest.raises(CaptureError) as error:
        read_capture(path)
    assert str(error.value).endswith("; keep what is before it with: " + command.format(f"'{path}'"))
