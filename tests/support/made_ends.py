"""A capture of flows of all kinds between pairs of addresses, for what names flows."""

from __future__ import annotations

import struct

from made_captures import A6, ACK, B6, PSH, SYN, A, B, Packet, framed, internet_checksum, ip, pcap, tcp, transport, udp

_ICMP, _ICMPV6 = 1, 58


def _icmp(source: str, destination: str, kind: int, code: int = 0) -> bytes:
    body = struct.pack(">BBHHH", kind, code, 0, 1, 1) + bytes(20)
    if ":" in source:
        return ip(source, destination, _ICMPV6, transport(source, destination, _ICMPV6, body, 2))
    return ip(source, destination, _ICMP, body[:2] + struct.pack(">H", internet_checksum(body)) + body[4:])


def all_kinds() -> bytes:
    """Of TCP, UDP and echoes, from the smaller address and from the larger, IPv4 and IPv6."""
    packets = []
    for one, other in ((A, B), (B, A), ("9.9.9.9", "10.0.0.3"), ("200.0.0.1", "10.0.0.3"), (A6, B6), (B6, A6)):
        for sport, dport in ((40000, 443), (1, 65535), (256, 255)):
            packets += [
                tcp(one, sport, other, dport, SYN, seq=1),
                tcp(other, dport, one, sport, SYN | ACK, seq=1, ack=2),
                tcp(one, sport, other, dport, ACK | PSH, 10, seq=2, ack=2),
                udp(one, sport, other, dport, 10),
                udp(other, dport, one, sport, 10),
            ]
        question, answer = (128, 129) if ":" in one else (8, 0)
        packets += [_icmp(one, other, question), _icmp(other, one, answer)]
    return pcap(framed([Packet(1000 * number, data) for number, data in enumerate(packets)]))
