"""A run of the traffic lab as its plan and its packets tell it."""

import socket
import struct

SCENARIO = """length: 30 s
hosts: {laptop: {link: cable}, server: {link: datacentre}}
activities:
  - {do: web, with: nginx/curl, from: laptop, to: server}
  - {do: beacon_https, with: nginx/curl, from: laptop, to: server}
"""


def udp(source: str, target: str, ports: tuple[int, int], size: int) -> bytes:
    udp = struct.pack(">HHHH", *ports, 8 + size, 0) + bytes(size)
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target)
    )
    total = sum(struct.unpack(">10H", head))
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack(">H", total) + head[12:] + udp
