"""Packets and capture files made up for tests."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, replace

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERNET, RAW, COOKED, COOKED2, NULL = 1, 101, 113, 276, 0
START = 1_700_000_000_000_000

A, B = "10.0.0.1", "10.0.0.2"
A6, B6 = "2001:db8::1", "2001:db8::2"


def internet_checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def transport(source: str, destination: str, protocol: int, body: bytes, at: int) -> bytes:
    """``body`` with its checksum put in at ``at``."""
    pseudo = _address(source) + _address(destination) + struct.pack(">II", len(body), protocol)
    sum_ = internet_checksum(pseudo + body) or 0xFFFF
    return body[:at] + struct.pack(">H", sum_) + body[at + 2 :]


def ip(source: str, destination: str, protocol: int, body: bytes, *, identity=0, fragment=0, extension=b"") -> bytes:
    """An IP packet; ``fragment`` is the 16-bit field of IPv4's header, ``extension`` an IPv6 extension header."""
    if ":" in source:
        first = (extension and 60) or protocol
        length = len(extension) + len(body)
        header = struct.pack(">IHBB", 6 << 28, length, first, 64) + _address(source) + _address(destination)
        return header + extension + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), identity, fragment, 64, protocol, 0)
    header += _address(source) + _address(destination)
    return header[:10] + struct.pack(">H", internet_checksum(header)) + header[12:] + body


def tcp(source, sport, destination, dport, flags, size=0, seq=0, ack=0, payload=None, **fields) -> bytes:
    """An IP packet of TCP with ``size`` bytes of payload."""
    body = struct.pack(">HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack, 0x50, flags, 8192, 0, 0)
    body += bytes(size) if payload is None else payload
    return ip(source, destination, 6, transport(source, destination, 6, body, 16), **fields)


def udp(source, sport, destination, dport, size=0, payload=None, **fields) -> bytes:
    """An IP packet of UDP with ``size`` bytes of payload."""
    payload = bytes(size) if payload is None else payload
    body = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    return ip(source, destination, 17, transport(source, destination, 17, body, 6), **fields)


def ethernet(packet: bytes, *tags: bytes) -> bytes:
    """A frame; ``tags`` stand between the addresses and the packet's type."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return bytes(12) + b"".join(tags) + kind + packet


@dataclass(frozen=True)
class Packet:
    """A record: µs since START, bytes, and how many of them were captured."""

    time: int
    data: bytes
    captured: int | None = None

    @property
    def kept(self) -> bytes:
        return self.data[: self.captured]


def pcap(packets: list[Packet], linktype: int = ETHERNET, order: str = "<", nanoseconds: bool = False) -> bytes:
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, linktype)]
    for packet in packets:
        seconds, fraction = divmod(START + packet.time, 1_000_000)
        fraction *= 1000 if nanoseconds else 1
        parts.append(struct.pack(order + "IIII", seconds, fraction, len(packet.kept), len(packet.data)))
        parts.append(packet.kept)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of a pcapng file."""
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(linktype: int = ETHERNET, order: str = "<") -> bytes:
    # Nanoseconds, as most tools write today.
    option = struct.pack(order + "HHB3xI", 9, 1, 9, 0)
    return block(1, struct.pack(order + "HHI", linktype, 0, 0) + option, order)


def packet_block(packet: Packet, of: int = 0, order: str = "<", more: int = 0) -> bytes:
    """A packet of the interface `of`, which claims `more` bytes than there are."""
    ticks = (START + packet.time) * 1000
    kept = len(packet.kept) + more
    head = struct.pack(order + "IIIII", of, ticks >> 32, ticks & 0xFFFFFFFF, kept, max(kept, len(packet.data)))
    return block(6, head + packet.kept, order)


def pcapng(packets: list[Packet], linktype: int = ETHERNET, order: str = "<") -> bytes:
    parts = [section(order), interface(linktype, order)]
    parts += [packet_block(packet, order=order) for packet in packets]
    return b"".join(parts)


def framed(packets: list[Packet]) -> list[Packet]:
    """IP packets as Ethernet frames."""
    return [replace(p, data=ethernet(p.data)) for p in packets]


def conversation(source=A, destination=B, sport=40_000, dport=443, start=0) -> list[Packet]:
    """A TCP connection of IP packets, 10 ms apart: payload +100, -1000, -1000, +50."""
    there, back = (source, sport, destination, dport), (destination, dport, source, sport)
    steps = [
        tcp(*there, SYN, seq=999),
        tcp(*back, SYN | ACK, seq=4999, ack=1000),
        tcp(*there, ACK, seq=1000, ack=5000),
        tcp(*there, ACK | PSH, 100, seq=1000, ack=5000),
        tcp(*back, ACK, 1000, seq=5000, ack=1100),
        tcp(*back, ACK | PSH, 1000, seq=6000, ack=1100),
        tcp(*there, ACK | PSH, 50, seq=1100, ack=7000),
        tcp(*there, ACK | FIN, seq=1150, ack=7000),
        tcp(*back, ACK | FIN, seq=7000, ack=1151),
        tcp(*there, ACK, seq=1151, ack=7001),
    ]
    return [Packet(start + 10_000 * i, data) for i, data in enumerate(steps)]
