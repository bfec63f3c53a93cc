"""Captures that are cut off, damaged or none at all: one clear line, or what can be read of them."""

from __future__ import annotations

import gzip
import io
import sys

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from made_captures import (
    A6,
    B6,
    RAW,
    A,
    B,
    Packet,
    block,
    conversation,
    ethernet,
    framed,
    interface,
    ip,
    packet_block,
    pcap,
    pcapng,
    section,
    udp,
)
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
        (scratched(gzip.compress(OFFICE), 12), "x.pcap: the compressed data is damaged near byte"),
        (scratched(zstandard.compress(OFFICE), 4), "x.pcap: the compressed data is damaged near byte"),
        (scratched(lz4.frame.compress(OFFICE), 7), "x.pcap: the compressed data is damaged near byte"),
        (lz4.frame.compress(OFFICE)[:6] + b"\0\0" + bytes(99), "x.pcap: the compressed data is damaged near byte"),
        (WHOLE[:24] + b"\xff" * 60, "x.pcap: damaged at byte 24: a packet of 4294967295 bytes"),
        (pcapng([])[:8] + bytes(100), "x.pcap: a section of unknown byte order, at byte 0"),
        (section()[:-4] + bytes(4), "x.pcap: a block that ends with another length than it begins with, at byte 0"),
        *((gzip.compress(WHOLE)[:size], "x.pcap: the compressed data ends early") for size in (2, 9, 12, 20)),
        *((zstandard.compress(WHOLE)[:size], "x.pcap: the compressed data ends early") for size in (4, 5, 12, 99)),
        *((lz4.frame.compress(WHOLE)[:size], "x.pcap: the compressed data ends early") for size in (4, 6, 12, 30)),
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


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lz4.frame.compress])
def test_a_cut_off_compressed_capture_gives_what_is_before_the_cut(pack):
    packed = pack(OFFICE)
    capture = read(packed[: len(packed) // 2])
    assert 0 < capture.counts["packets"] < read(OFFICE).counts["packets"]
    assert capture.counts["truncated_tail"] == 1
    assert capture.warnings[0] == "x.pcap: the compressed data ends early; the packets before that were read"
    assert not capture.problems


def test_a_zstd_frame_that_lacks_only_its_end_is_told():
    # All packets are there: only the frame itself says that it goes on.
    frame = zstandard.ZstdCompressor().compressobj()
    capture = read(frame.compress(WHOLE) + frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    assert capture.counts["packets"] == 10
    assert capture.warnings == ["x.pcap: the compressed data ends early; the packets before that were read"]


@pytest.mark.parametrize("blocks", [lz4.frame.BLOCKSIZE_MAX4MB, lz4.frame.BLOCKSIZE_MAX64KB])
def test_of_a_block_of_lz4_that_is_cut_off_what_is_there_is_read(blocks):
    # A block may hold thousands of packets, and Suricata's last is cut where it was killed.
    whole = lz4.frame.compress(OFFICE, block_size=blocks, block_linked=True)
    counts = [0]
    for left in (0.3, 0.6, 0.9, 0.99):
        capture = read(whole[: int(len(whole) * left)])
        assert capture.warnings[0] == "x.pcap: the compressed data ends early; the packets before that were read"
        assert not capture.problems
        counts.append(capture.counts["packets"])
    assert counts == sorted({*counts}) and counts[-1] > 0.95 * read(OFFICE).counts["packets"]


def test_lz4_with_all_its_checksums_and_without_any():
    for options in ({}, {"content_checksum": True, "block_checksum": True, "block_size": lz4.frame.BLOCKSIZE_MAX4MB}):
        assert read(lz4.frame.compress(OFFICE, **options)).counts == read(OFFICE).counts


def test_where_lz4_is_not_installed_a_line_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(CaptureError) as error:
        read(lz4.frame.compress(WHOLE))
    assert str(error.value) == "x.pcap: packed with lz4, which is not installed; type: pip install 'mmtt[suricata]'"


FRAMES = framed(conversation())
BLOCKS = [section(), interface(), *(packet_block(frame) for frame in FRAMES)]


def wrong_end(block: bytes) -> bytes:
    return block[:-4] + b"\1\2\3\4"


@pytest.mark.parametrize(
    ("data", "packets", "says"),
    [
        (WHOLE + b"\xff" * 99, 10, f"damaged at byte {len(WHOLE)}: a packet of 4294967295 bytes"),
        (WHOLE[:94] + b"\xff" * 60 + WHOLE[154:], 1, "damaged at byte 94: a packet of 4294967295 bytes"),
        (b"".join(BLOCKS) + bytes(64), 10, f"damaged at byte {len(b''.join(BLOCKS))}: a block of 0 bytes"),
        (b"".join(BLOCKS) + b"\xff" * 77, 10, "a block of 4294967295 bytes"),
        (b"".join([*BLOCKS[:6], b"\6\0\0\0\xf0\xff\xff\xff", *BLOCKS[6:]]), 4, "a block of 4294967280 bytes"),
        (b"".join([*BLOCKS[:6], block(0x0A0D0D0A, bytes(16)), *BLOCKS[6:]]), 4, "a section of unknown byte order"),
        # libpcap, and so Zeek, goes no further either (seen with Zeek 8.2.2).
        (b"".join([*BLOCKS[:6], wrong_end(BLOCKS[6]), *BLOCKS[7:]]), 4,
            f"damaged at byte {len(b''.join(BLOCKS[:6]))}: a block that ends with another length than it begins with"),
        (b"".join([*BLOCKS[:6], wrong_end(block(5, bytes(12))), *BLOCKS[6:]]), 4, "a block that ends with another"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress, lz4.frame.compress])
def test_damage_further_on_costs_what_comes_after_it_alone(data, packets, says, pack):
    capture = read(pack(data))
    assert capture.counts["packets"] == packets
    (problem,) = capture.problems
    assert says in problem.replace(" of decompressed data", "") and "only what is before that was read" in problem
    assert not capture.warnings


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        zstandard.ZstdCompressor(write_checksum=True).compress,
        lambda data: lz4.frame.compress(data, content_checksum=True),
    ],
)
@pytest.mark.parametrize("harm", [lambda packed: packed + b"junk and more", lambda packed: packed[:-1] + b"\x55"])
def test_junk_after_compressed_data_and_a_wrong_checksum_cost_no_packet(pack, harm):
    capture = read(harm(pack(WHOLE)))
    assert capture.counts["packets"] == 10
    (problem,) = capture.problems
    assert problem.startswith("x.pcap: the compressed data is damaged near byte ")
    assert problem.endswith("; only what is before that was read; copy the file again")
    assert not capture.warnings


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lz4.frame.compress])
def test_of_damaged_compressed_data_what_is_before_the_damage_is_read(pack):
    packed = pack(OFFICE)
    half = len(packed) // 2
    capture = read(packed[:half] + packed[half + 400 :])
    share = capture.counts["packets"] / read(OFFICE).counts["packets"]
    assert 0.2 < share < 0.8 and len(capture.problems) == 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, lz4.frame.compress])
def test_compressed_parts_one_after_the_other_are_read_as_one(pack):
    skippable = b"" if pack is gzip.compress else b"\x50\x2a\x4d\x18\3\0\0\0abc"
    capture = read(pack(OFFICE[:300_001]) + skippable + pack(OFFICE[300_001:]))
    assert capture.counts == read(OFFICE).counts and not capture.problems and not capture.warnings


def test_zeros_after_gzip_data_are_nothing():
    capture = read(gzip.compress(WHOLE) + bytes(100_000))
    assert capture.counts["packets"] == 10 and not capture.problems and not capture.warnings


class _BadDisk(io.BytesIO):
    def read(self, size=-1):
        if self.tell() >= 300:
            raise OSError(5, "Input/output error")
        return super().read(min(size, 300 - self.tell()))


def test_a_disk_that_fails_further_on_costs_what_comes_after_it_alone():
    capture = read_capture(_BadDisk(WHOLE), name="x.pcap")
    assert capture.counts["packets"] == 3
    (problem,) = capture.problems
    assert problem.startswith("x.pcap: can't be read from byte 300 on: Input/output error; only what is before")


def test_a_description_of_an_interface_that_is_cut_short_still_says_the_link_type():
    # As for Zeek 8.2.2.
    data = b"".join([section(), block(1, b"\1\0\0\0"), *BLOCKS[2:]])
    assert read(data).windows.series.lengths.tolist() == [4]


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
    zstandard.compress(WHOLE), lz4.frame.compress(WHOLE, content_checksum=True), OFFICE[:20_000],
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
        (lz4.frame.compress, "lz4 -dc {} | head -c 94"),
    ],
)
def test_what_is_before_the_damage_can_be_kept_with_the_command_that_is_told(tmp_path, pack, command):
    path = tmp_path / "a capture.pcap"
    path.write_bytes(pack(WHOLE[:94] + b"\xff" * 60 + WHOLE[154:]))
    (problem,) = read_capture(path).problems
    assert problem.endswith("; only what is before that was read; keep that with: " + command.format(f"'{path}'"))
