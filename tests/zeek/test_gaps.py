"""Bytes that a capture lacks are nobody's payload: gaps as long as headers are, packets with all sorts of headers."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_captures import (
    A6,
    ACK,
    B6,
    COOKED,
    COOKED2,
    ETHERNET,
    NULL,
    PSH,
    RAW,
    SYN,
    A,
    B,
    Packet,
    ethernet,
    ip,
    pcap,
    transport,
    udp,
)
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


#: A frame of an IP packet, by what it is called, with the capture's link type.
LINKS = {
    "Ethernet": (ETHERNET, ethernet),
    "a VLAN": (ETHERNET, lambda data: ethernet(data, b"\x81\0\0\5")),
    "two VLANs": (ETHERNET, lambda data: ethernet(data, b"\x88\xa8\0\5", b"\x81\0\0\6")),
    "Linux cooked": (COOKED, lambda data: bytes(14) + _type(data) + data),
    "Linux cooked 2": (COOKED2, lambda data: _type(data) + bytes(18) + data),
    "loopback": (NULL, lambda data: (b"\x1e" if data[0] >> 4 == 6 else b"\2") + bytes(3) + data),
    "raw IP": (RAW, bytes),
}


def _type(data: bytes) -> bytes:
    return b"\x86\xdd" if data[0] >> 4 == 6 else b"\x08\x00"


def _headers(data: bytes) -> int:
    """How long an IP packet's headers are."""
    at = 40 if data[0] >> 4 == 6 else 20
    return at + (data[at + 12] >> 4) * 4


def by_both(
    place: Path, packets: list[Packet], link: int = ETHERNET, checksums: bool = True
) -> dict[str, dict[int, list[int]]]:
    """By port: the series that Zeek's package and the reader take from packets."""
    if (zeek := find_zeek()) is None:
        pytest.skip("no Zeek: set ZEEK to the program, or put it on PATH")
    (place / "mmtt").symlink_to(ZEEK_SCRIPTS)
    capture = place / "gaps.pcap"
    capture.write_bytes(pcap(packets, link))

    def series(found) -> dict[int, list[int]]:
        assert not found.error, found.error
        return {ends[3]: sizes for (ends, _, _), (sizes, _) in found.windows.items()}

    return {"Zeek": series(by_zeek(zeek, capture, place, checksums)), "reader": series(by_reader(capture, checksums))}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    packets = []
    for number, (_, it) in enumerate(talks()):
        packets += [Packet(number * 1000 + i, ethernet(data)) for i, data in enumerate(it.packets)]
    return by_both(tmp_path_factory.mktemp("gaps"), packets)


@pytest.mark.parametrize("who", ["Zeek", "reader"])
def test_payload_is_what_it_is_whatever_is_missing_before_it(seen, who):
    wrong = [
        f"{name}: {seen[who].get(it.port)} for {it.series}"
        for name, it in talks()
        if seen[who].get(it.port) != it.series
    ]
    assert not wrong, f"{len(wrong)} of {len(talks())}:\n" + "\n".join(wrong[:10])


@pytest.mark.parametrize("link", LINKS)
def test_so_it_is_of_packets_that_were_cut_to_their_headers(tmp_path, link):
    number, frame = LINKS[link]
    chosen = [each for each in talks() if "gap of 12 " in each[0] or "gap of 100 " in each[0]]
    packets = []
    for at, (_, it) in enumerate(chosen):
        for i, data in enumerate(it.packets):
            made = frame(data)
            # A byte more on the wire, so that where the packet begins can't be told from the end.
            packets.append(Packet(at * 1000 + i, made + b"\0", len(made) - len(data) + _headers(data)))
    found = by_both(tmp_path, packets, number)
    for who, series in found.items():
        wrong = [
            f"{name}: {series.get(it.port)} for {it.series}" for name, it in chosen if series.get(it.port) != it.series
        ]
        assert not wrong, f"{who}: {len(wrong)} of {len(chosen)}:\n" + "\n".join(wrong[:10])


def without_length(data: bytes) -> bytes:
    """An IP packet as captured before a network card cuts it up."""
    return data[:2] + b"\0\0" + data[4:] if data[0] >> 4 == 4 else data[:4] + b"\0\0" + data[6:]


@pytest.mark.parametrize("which", ["all", "the large ones"])
@pytest.mark.parametrize("options", OPTIONS)
def test_packets_without_a_length_have_the_payload_that_they_have(tmp_path, options, which):
    it = Talk(4, 443, *OPTIONS[options])
    it.send(True, 0, SYN)
    it.send(False, 0, SYN | ACK)
    it.send(True, 0)
    for turn in range(8):
        it.send(turn % 2 == 0, 700 + 400 * turn if turn % 3 else 90, PSH | ACK)
        it.send(turn % 2 == 1, 0)
    cut = [without_length(each) if which == "all" or len(each) > 1000 else each for each in it.packets]
    found = by_both(tmp_path, [Packet(i, ethernet(each)) for i, each in enumerate(cut)], checksums=False)
    assert found == {who: {443: it.series} for who in ("Zeek", "reader")}


@pytest.mark.parametrize("length", [0, 1, 7])
@pytest.mark.parametrize("up", [True, False])
def test_a_length_of_udp_that_can_not_be_takes_nothing_from_other_packets(tmp_path, length, up):
    sizes = [100, -200, 300, -400, 120, -90]
    packets = []
    for turn, size in enumerate(sizes):
        ends = (A, 40_000, B, 9999) if size > 0 else (B, 9999, A, 40_000)
        packets.append(udp(*ends, abs(size)))
        if turn == 2:
            odd = bytearray(udp(*((A, 40_000, B, 9999) if up else (B, 9999, A, 40_000)), 50))
            odd[24:28] = struct.pack(">HH", length, 0)
            packets.append(bytes(odd))
    found = by_both(tmp_path, [Packet(i, ethernet(each)) for i, each in enumerate(packets)], checksums=False)
    assert found["Zeek"] == found["reader"]
    assert [each for each in found["Zeek"][9999] if each in sizes] == sizes
