"""Captures made up for the tests of the collection. Usage: ``made_windows.py NAME``; the capture goes to stdout."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from made_captures import (
    A6,
    ACK,
    B6,
    PSH,
    RST,
    SYN,
    A,
    B,
    Packet,
    conversation,
    ethernet,
    framed,
    ip,
    pcap,
    tcp,
    transport,
    udp,
)

SECOND = 1_000_000
THERE, BACK = (A, 40_000, B, 443), (B, 443, A, 40_000)


def udp_talk(times: list[int], first_size: int = 101) -> list[Packet]:
    """Datagrams by turns from both sides, each a byte longer than the one before."""
    return [Packet(time, udp(*(BACK if i % 2 else THERE), size=first_size + i)) for i, time in enumerate(times)]


def probes() -> list[Packet]:
    """SYNs to thirty ports, every second one refused and the others not answered, which what comes later shows."""
    packets = []
    for port in range(30):
        packets.append(Packet(port * SECOND, tcp(A, 50_000 + port, B, 1 + port, SYN, seq=1)))
        if port % 2:
            packets.append(Packet(port * SECOND + 100, tcp(B, 1 + port, A, 50_000 + port, RST | ACK, ack=2)))
    return [*packets, Packet(60 * SECOND, udp(A, 5353, B, 5353, size=40))]


def datagrams() -> list[Packet]:
    """With an empty one, which is no payload."""
    talk = udp_talk([0, 1_000, 2_500, 2_500, 9_999])
    return [*talk[:2], Packet(2_000, udp(*THERE, size=0)), *talk[2:]]


def repeated() -> list[Packet]:
    """Segments that come twice, and one before its turn."""
    steps = conversation()
    late = [steps[5], steps[4], steps[4], *steps[6:]]
    moved = steps[:4] + late
    return [replace(p, time=10_000 * i) for i, p in enumerate(moved)]


def options() -> list[Packet]:
    """TCP options on every segment but one; acknowledgements of several lengths, none of which is payload."""

    def segment(end: tuple, flags: int, size: int, seq: int, ack: int, extra: bytes) -> bytes:
        source, sport, destination, dport = end
        offset = 5 + len(extra) // 4
        body = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, 8192, 0, 0) + extra
        return with_checksum(source, destination, body + bytes(size))

    stamps, sack = b"\1\1\x08\x0a" + bytes(8), b"\1\1\x08\x0a" + bytes(8) + b"\1\1\5\x0a" + bytes(8)
    hello = b"\2\4\5\xb4\4\2\x08\x0a" + bytes(8) + b"\1\3\3\7"
    steps = [
        segment(THERE, SYN, 0, 999, 0, hello),
        segment(BACK, SYN | ACK, 0, 4999, 1000, hello),
        segment(THERE, ACK, 0, 1000, 5000, stamps),
        segment(THERE, ACK | PSH, 10, 1000, 5000, stamps),
        segment(BACK, ACK, 0, 5000, 1010, sack),
        segment(BACK, ACK | PSH, 12, 5000, 1010, stamps),
        segment(THERE, ACK, 0, 1010, 5012, sack),
        segment(THERE, ACK | PSH, 24, 1010, 5012, b""),
        segment(BACK, ACK | PSH, 1, 5012, 1034, sack),
        segment(THERE, ACK | PSH, 12, 1034, 5013, stamps),
    ]
    return [Packet(1_000 * i, data) for i, data in enumerate(steps)]


def with_checksum(source: str, destination: str, body: bytes) -> bytes:
    return ip(source, destination, 6, transport(source, destination, 6, body, 16))


def ipv6() -> list[Packet]:
    """With a destination-options header of 8 bytes before some of the transport headers."""
    extension = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    steps = conversation(A6, B6)
    there = (A6, 40_000, B6, 443)
    steps[3] = replace(steps[3], data=tcp(*there, ACK | PSH, 100, seq=1000, ack=5000, extension=extension))
    other = bytes([17]) + extension[1:]
    return [
        *steps,
        Packet(200_000, udp(A6, 5000, B6, 6000, size=33)),
        Packet(201_000, udp(B6, 6000, A6, 5000, size=44, extension=other)),
    ]


def fragments() -> list[Packet]:
    """A datagram of 3,000 bytes in three pieces, the last before the second."""
    whole = udp(*THERE, size=3000)[20:]
    pieces = [(0, 1480, True), (2960, 48, False), (1480, 1480, True)]
    parts = [
        ip(A, B, 17, whole[at : at + size], identity=7, fragment=at // 8 | (0x2000 if more else 0))
        for at, size, more in pieces
    ]
    return [
        Packet(0, udp(*THERE, size=10)),
        *(Packet(1_000 * (i + 1), part) for i, part in enumerate(parts)),
        Packet(9_000, udp(*BACK, size=20)),
    ]


def vxlan() -> list[Packet]:
    """A conversation between two hosts, in a tunnel between two others."""
    tunnel = ("192.0.2.1", 51_000, "192.0.2.2", 4789)
    header = bytes([8, 0, 0, 0, 0, 0, 42, 0])
    return [replace(p, data=udp(*tunnel, payload=header + ethernet(p.data))) for p in conversation()]


def later() -> list[Packet]:
    """Datagrams, as many as reach the third window; a size tells the packet's number."""
    return [Packet(1_000 * i, udp(*(BACK if i % 3 == 0 else THERE), size=i)) for i in range(1, 2_200)]


def acknowledgements() -> list[Packet]:
    """One packet in three has payload: 64 packets are over before 32 of them have been seen."""
    steps, seq = [replace(p, time=1_000 * i) for i, p in enumerate(conversation()[:3])], 1000
    for i in range(3, 90):
        if i % 3 == 0:
            data = tcp(*THERE, ACK | PSH, 100 + i, seq=seq, ack=5000)
            seq += 100 + i
        else:
            data = tcp(*BACK, ACK, seq=5000, ack=seq)
        steps.append(Packet(1_000 * i, data))
    return steps


def wait() -> list[Packet]:
    """Two talks: one has a packet exactly 60 s after its first and one a microsecond later; the other falls quiet."""
    exact = udp_talk([0, SECOND, 60 * SECOND, 60 * SECOND + 1, 61 * SECOND])
    quiet = [Packet(p.time + 5 * SECOND, udp(A, 41_000, B, 443, size=200 + i)) for i, p in enumerate(exact[:2])]
    # Others, so that the clock goes on.
    clock = [Packet(t * SECOND + 7, udp(A, 5353, B, 5353, size=0)) for t in range(0, 80, 5)]
    return sorted(exact + quiet + clock, key=lambda p: p.time)


CAPTURES = {
    "tcp": conversation,
    "udp": datagrams,
    "repeated": repeated,
    "options": options,
    "ipv6": ipv6,
    "fragments": fragments,
    "vxlan": vxlan,
    "later": later,
    "acknowledgements": acknowledgements,
    "wait": wait,
    "probes": probes,
    "flipped": lambda: conversation()[1:],
    "several": lambda: sorted(
        conversation() + conversation(A6, B6, dport=8080, start=3_000) + datagrams_at(5353),
        key=lambda p: p.time,
    ),
}


def datagrams_at(port: int) -> list[Packet]:
    return [Packet(1 + 1_000 * i, udp(A, 50_000, "10.9.0.9", port, size=60 + i)) for i in range(4)]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CAPTURES:
        sys.exit(f"{__doc__}Names: {' '.join(CAPTURES)}")
    sys.stdout.buffer.write(pcap(framed(CAPTURES[sys.argv[1]]())))
