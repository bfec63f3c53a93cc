"""Bytes that a capture lacks are nobody's payload: gaps as long as headers are, packets with all sorts of headers."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_captures import A6, ACK, B6, PSH, SYN, A, B, Packet, ethernet, ip, pcap, transport
from parity import by_reader, by_zeek
from places import ZEEK_SCRIPTS

from mmtt_agent.zeek import find as find_zeek

STAMPS = b"\1\1\x08\x0a" + bytes(8)
SACK = b"\1\1\5\x0a" + bytes(8)
#: Of SYNs, and of what follows.
OPTIONS = {
    "none": (b"\2\4\5\xb4", b""),
    "windows": (b"\2\4\5\xb4\1\3\3\7\1\1\4\2", b""),
    "time stamps": (b"\2\4\5\xb4\4\2\x08\x0a" + bytes(8) + b"\1\3\3\7", STAMPS),
    "and sack": (b"\2\4\5\xb4\4\2\x08\x0a" + bytes(8) + b"\1\3\3\7", STAMPS + SACK),
}
GAPS = (1, 4, 8, 12, 20, 24, 32, 40, 44, 52, 60, 64, 72, 84, 100, 1460)
#: What comes first, and at which packet the gap is.
BEGINNINGS = ("handshake", "handshake without its acknowledgement", "answer to a SYN", "in the middle")
PLACES = ("first", "later", "acknowledgement", "sent again")


@dataclass
class Talk:
    """A connection, packet by packet; ``series`` is what its payloads are."""

    version: int
    port: int
    hello: bytes
    options: bytes

    def __post_init__(self) -> None:
        self.packets: list[bytes] = []
        self.series: list[int] = []
        self.seq = {True: 1000, False: 7000}

    def send(self, up: bool, size: int, flags: int = ACK, *, seq: int | None = None) -> None:
        there = (A6, 40_000, B6, self.port) if self.version == 6 else (A, 40_000, B, self.port)
        source, sport, destination, dport = there if up else there[2:] + there[:2]
        options = self.hello if flags & SYN else self.options
        at = self.seq[up] if seq is None else seq
        ack = self.seq[not up] if flags & ACK else 0
        offset = 5 + len(options) // 4
        body = struct.pack(">HHIIBBHHH", sport, dport, at, ack, offset << 4, flags, 8192, 0, 0) + options + bytes(size)
        self.packets.append(ip(source, destination, 6, transport(source, destination, 6, body, 16)))
        if seq is None:
            self.seq[up] += size + bool(flags & SYN)
        if size:
            self.series.append(size if up else -size)


def talk(version: int, port: int, options: str, beginning: str, place: str, up: bool, gap: int, size: int) -> Talk:
    it = Talk(version, port, *OPTIONS[options])
    if beginning.startswith("handshake"):
        it.send(True, 0, SYN)
    if beginning != "in the middle":
        it.send(False, 0, SYN | ACK)
    if beginning in ("handshake", "answer to a SYN"):
        it.send(True, 0)
    if beginning == "in the middle":
        it.send(True, 33, PSH | ACK)
        it.send(False, 0)
    if place != "first":
        it.send(up, 90, PSH | ACK)
        it.send(not up, 0)
        it.send(not up, 70, PSH | ACK)
    it.seq[up] += gap
    if place == "acknowledgement":
        it.send(up, 0)
    elif place == "sent again":
        it.send(up, size, PSH | ACK)
        it.send(up, size, PSH | ACK, seq=it.seq[up] - size)
    else:
        it.send(up, size, PSH | ACK)
    it.send(not up, 120, PSH | ACK)
    it.send(up, 0)
    it.send(up, 310, PSH | ACK)
    it.send(not up, 15, PSH | ACK)
    it.send(up, 44, PSH | ACK)
    return it


def talks() -> list[tuple[str, Talk]]:
    made = []
    ports = itertools.count(5000)
    kinds = itertools.product((4, 6), OPTIONS, BEGINNINGS, PLACES, (True, False), GAPS)
    for n, (version, options, beginning, place, up, gap) in enumerate(kinds):
        size = (284, 12, 40, 1, 20, 1400)[n % 6]
        name = (
            f"IPv{version}, options: {options}, {beginning}, gap of {gap} at {place}, {'up' if up else 'down'}, {size}"
        )
        made.append((name, talk(version, next(ports), options, beginning, place, up, gap, size)))
    return made


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """By port: the series that Zeek's package and the reader take from it."""
    if (zeek := find_zeek()) is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    place = tmp_path_factory.mktemp("gaps")
    (place / "mmtt").symlink_to(ZEEK_SCRIPTS)
    packets = []
    for number, (_, it) in enumerate(talks()):
        packets += [Packet(number * 1000 + i, ethernet(data)) for i, data in enumerate(it.packets)]
    capture = place / "gaps.pcap"
    capture.write_bytes(pcap(packets))

    def series(found) -> dict[int, list[int]]:
        assert not found.error
        return {ends[3]: sizes for (ends, _, _), (sizes, _) in found.windows.items()}

    return {"Zeek": series(by_zeek(zeek, capture, Path(place))), "reader": series(by_reader(capture))}


@pytest.mark.parametrize("who", ["Zeek", "reader"])
def test_payload_is_what_it_is_whatever_is_missing_before_it(seen, who):
    wrong = [
        f"{name}: {seen[who].get(it.port)} for {it.series}"
        for name, it in talks()
        if seen[who].get(it.port) != it.series
    ]
    assert not wrong, f"{len(wrong)} of {len(talks())}:\n" + "\n".join(wrong[:10])


#: Headers of links before IPv4, by link type.
LINKS = {
    "Ethernet": (1, bytes(12) + b"\x08\x00"),
    "a tag": (1, bytes(12) + b"\x81\x00\0\5\x08\x00"),
    "two tags": (1, bytes(12) + b"\x88\xa8\0\5\x81\x00\0\6\x08\x00"),
    "cooked": (113, bytes(2) + b"\0\1\0\6" + bytes(8) + b"\x08\x00"),
    "cooked 2": (276, b"\x08\x00\0\0\0\0\0\1\0\1\0\6" + bytes(8)),
    "raw": (101, b""),
}


@pytest.mark.parametrize("link", LINKS)
def test_frames_that_were_cut_short_and_padded(tmp_path, link):
    """Zeek hands out no TCP header of them."""
    if (zeek := find_zeek()) is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    (tmp_path / "mmtt").symlink_to(ZEEK_SCRIPTS)
    kind, header = LINKS[link]
    it = talk(4, 5000, "time stamps", "handshake", "first", False, 3588, 9)
    packets = [Packet(i, header + data + b"\0", len(header) + 60) for i, data in enumerate(it.packets)]
    capture = tmp_path / "cut.pcap"
    capture.write_bytes(pcap(packets, kind))
    found = by_zeek(zeek, capture, tmp_path)
    assert [sizes for sizes, _ in found.windows.values()] == [it.series]
