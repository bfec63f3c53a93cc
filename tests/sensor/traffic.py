"""Connections over TCP as a sensor sees them, written to an interface: made up, paced, each with addresses of its own.

    python traffic.py INTERFACE --flows 1000 --rate 200 [--network 1]

From clients in 10.NETWORK.0.0/16 to servers in 10.200.0.0/16. Prints a line of JSON: flows, packets, and the seconds
it took. Checksums are zero (`zeek -C`). No more than a socket and a heap, so that one core makes thousands of
connections a second.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import signal
import socket
import struct
import time

SYN, ACK, PUSH, FIN = 2, 16, 8, 1
_HEADER = struct.Struct("!6s6sHBBHHHBBHIIHHIIBBHHH")
_MACS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
_NOISE = random.Random(3).randbytes(3000)
PORTS = (443, 8443, 993, 22, 5222, 5061)


def frame(
    up: bool, client: tuple[int, int], server: tuple[int, int], seq: int, ack: int, flags: int, size: int
) -> bytes:
    """An Ethernet frame from ``client`` to ``server`` (address, port), or back, with ``size`` bytes of payload."""
    (source, sport), (target, dport) = (client, server) if up else (server, client)
    head = _HEADER.pack(
        _MACS[up], _MACS[not up], 0x800, 0x45, 0, 40 + size, seq & 0xFFFF, 0x4000, 64, 6, 0, source, target,
        sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 60_000, 0, 0,
    )  # fmt: skip
    at = seq % 1500
    return head + _NOISE[at : at + size]


def conversation(number: int, network: int, packets: tuple[int, int]):
    """The frames of a connection, each after the seconds since the one before."""
    draw = random.Random(number * 256 + network)
    client = (10 << 24 | network << 16 | number & 0xFFFF, 1024 + number // 65536 * 7 % 60_000 + draw.randrange(1000))
    server = (10 << 24 | 200 << 16 | draw.randrange(1 << 12), draw.choice(PORTS))
    gap, sequence = draw.choice((0.002, 0.01, 0.05)), [draw.getrandbits(32), draw.getrandbits(32)]

    def one(up: bool, flags: int, size: int = 0) -> bytes:
        made = frame(up, client, server, sequence[up], sequence[not up] if flags & ACK else 0, flags, size)
        sequence[up] += size + bool(flags & (SYN | FIN))
        return made

    yield 0.0, one(True, SYN)
    yield gap, one(False, SYN | ACK)
    yield 0.0005, one(True, ACK)
    for at in range(draw.randint(*packets)):
        up = at % 2 == 0 if at < 4 else draw.random() < 0.3
        size = draw.choice((1400, 1400, draw.randint(40, 1400))) if not up else draw.randint(30, 600)
        yield draw.expovariate(1 / gap), one(up, PUSH | ACK, size)
    yield gap, one(True, FIN | ACK)
    yield gap, one(False, FIN | ACK)
    yield 0.0005, one(True, ACK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("interface")
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=200, help="connections that begin in a second")
    parser.add_argument("--network", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first connection")
    parser.add_argument("--packets", type=int, nargs=2, default=(5, 12), metavar=("LEAST", "MOST"), help="with payload")
    options = parser.parse_args()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((options.interface, 0))
    begun, started, sent = time.monotonic(), 0, 0
    due: list[tuple[float, int, object]] = []
    while due or (started < options.flows and not stopped):
        now = time.monotonic() - begun
        while started < options.flows and not stopped and started / options.rate <= now:
            number = options.first + started
            talk = conversation(number, options.network, options.packets)
            wait, first = next(talk)
            heapq.heappush(due, (started / options.rate, number, (first, talk)))
            started += 1
        while due and due[0][0] <= now:
            when, number, (bytes_, talk) = heapq.heappop(due)
            out.send(bytes_)
            sent += 1
            for wait, following in talk:
                heapq.heappush(due, (when + wait, number, (following, talk)))
                break
        time.sleep(0.001)
    print(json.dumps({"flows": started, "packets": sent, "seconds": round(time.monotonic() - begun, 3)}))


if __name__ == "__main__":
    main()
