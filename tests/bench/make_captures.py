"""Build the two captures that the benchmarks run on: ``short.pcap``, 60,000 short connections, and ``long.pcap``, 60 long
ones. Always the same bytes. Usage: ``python tests/bench/make_captures.py DIRECTORY``.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

SHORT_CONNECTIONS = 60_000
LONG_CONNECTIONS = 60
LONG_PACKETS = 12_000
#: Packets of `short.pcap` are spread over so many seconds.
SECONDS = 600

SYN, ACK, PUSH, FIN = 2, 16, 8, 1
#: A packet of a conversation: µs after the one before, from the originator, flags (None: UDP), bytes of payload.
Step = tuple[int, bool, int | None, int]

# No-operation twice, and time stamps: what most stacks send with every segment.
_TIMESTAMPS = bytes.fromhex("0101080a0000000100000001")
_SYN_OPTIONS = bytes.fromhex("020405b40402080a000000010000000001030307")


def web(rng: random.Random) -> Iterator[Step]:
    """A request or a few over TLS, with acknowledgements."""
    rtt = rng.randint(4_000, 60_000)
    yield 0, True, SYN, 0
    yield rtt, False, SYN | ACK, 0
    yield 50, True, ACK, 0
    yield 300, True, ACK | PUSH, rng.randint(300, 700)
    yield rtt, False, ACK, 0
    for _ in range(rng.choice((1, 1, 2))):
        for _ in range(rng.randint(1, 4)):
            yield rng.randint(20, 400), False, ACK, 1448
        yield 30, False, ACK | PUSH, rng.randint(60, 1400)
        yield 60, True, ACK, 0
        yield rng.randint(300, 90_000), True, ACK | PUSH, rng.randint(60, 600)
    yield rtt, False, ACK | PUSH, rng.randint(60, 1000)
    yield 60, True, ACK, 0
    yield rng.randint(100, 900_000), True, ACK | FIN, 0
    yield rtt, False, ACK | FIN, 0
    yield 40, True, ACK, 0


def lookup(rng: random.Random) -> Iterator[Step]:
    """A question and an answer."""
    yield 0, True, None, rng.randint(30, 60)
    yield rng.randint(500, 60_000), False, None, rng.randint(60, 300)


def datagrams(rng: random.Random) -> Iterator[Step]:
    """Something like a short QUIC connection."""
    yield 0, True, None, 1200
    yield rng.randint(4_000, 60_000), False, None, 1200
    for _ in range(rng.randint(6, 14)):
        yield rng.randint(20, 40_000), rng.random() < 0.4, None, rng.randint(40, 1200)


def download(rng: random.Random) -> Iterator[Step]:
    """A long transfer, two segments to an acknowledgement."""
    yield 0, True, SYN, 0
    yield 9_000, False, SYN | ACK, 0
    yield 50, True, ACK, 0
    yield 300, True, ACK | PUSH, 400
    for _ in range((LONG_PACKETS - 4) // 3):
        yield rng.randint(200, 3_000), False, ACK, 1448
        yield rng.randint(5, 60), False, ACK, 1448
        yield rng.randint(5, 60), True, ACK, 0


def short(rng: random.Random) -> Iterator[tuple[int, int, int, list[Step]]]:
    """Start in µs, originator's and responder's port, packets of each connection."""
    for number in range(SHORT_CONNECTIONS):
        kind, port = rng.choices(((web, 443), (lookup, 53), (datagrams, 8443)), (56, 34, 10))[0]
        start = number * SECONDS * 1_000_000 // SHORT_CONNECTIONS
        yield start, 20_000 + number % 40_000, port, list(kind(rng))


def long(rng: random.Random) -> Iterator[tuple[int, int, int, list[Step]]]:
    for number in range(LONG_CONNECTIONS):
        yield rng.randint(0, 1_000_000), 30_000 + number, 443, list(download(rng))


def _checksum(*parts: bytes) -> int:
    data = b"".join(parts)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _frame(orig: bytes, resp: bytes, ports: tuple[int, int], step: Step, seq: list[int]) -> bytes:
    """The packet, Ethernet header and all; its payload is zeros. ``seq`` is what each side has sent so far."""
    _, from_orig, flags, size = step
    source, destination = (orig, resp) if from_orig else (resp, orig)
    sport, dport = ports if from_orig else ports[::-1]
    if flags is None:
        length = 8 + size
        pseudo = struct.pack("!4s4sHH", source, destination, 17, length)
        header = struct.pack("!HHHH", sport, dport, length, 0)
        header = header[:6] + struct.pack("!H", _checksum(pseudo, header) or 0xFFFF)
        protocol = 17
    else:
        options = _SYN_OPTIONS if flags & SYN else _TIMESTAMPS
        mine, other = (0, 1) if from_orig else (1, 0)
        offset = (20 + len(options)) // 4 << 4
        ack = seq[other] if flags & ACK else 0
        header = struct.pack("!HHIIBBHHH", sport, dport, seq[mine], ack, offset, flags, 500, 0, 0)
        pseudo = struct.pack("!4s4sHH", source, destination, 6, len(header) + len(options) + size)
        header = header[:16] + struct.pack("!HH", _checksum(pseudo, header, options), 0) + options
        seq[mine] += size + bool(flags & (SYN | FIN))
        protocol = 6
    total = 20 + len(header) + size
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0x4000, 64, protocol, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + header + bytes(size)


def write(path: Path, connections: Iterator[tuple[int, int, int, list[Step]]]) -> int:
    """Write a capture of the connections, interleaved; returns how many packets it holds."""
    order = []
    endpoints = []
    for number, (start, sport, dport, steps) in enumerate(connections):
        endpoints.append(
            (
                struct.pack("!BBH", 10, 1, number // 200 % 65536),
                struct.pack("!BBH", 10, 2, number % 500),
                sport,
                dport,
            )
        )
        time = start
        for step in steps:
            time += step[0]
            order.append((time, number, step))
    order.sort(key=lambda each: each[:2])
    seq = [[1000, 5000] for _ in endpoints]
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for time, number, step in order:
            orig, resp, sport, dport = endpoints[number]
            frame = _frame(orig, resp, (sport, dport), step, seq[number])
            seconds, microseconds = divmod(time, 1_000_000)
            out.write(
                struct.pack("<IIII", 1_700_000_000 + seconds, microseconds, len(frame), len(frame)) + frame
            )
    return len(order)


def make(directory: Path) -> dict[str, Path]:
    """Make both captures unless they are there."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, connections in (("short", short), ("long", long)):
        path = made[name] = directory / f"{name}.pcap"
        if not path.exists():
            part = path.with_suffix(".part")
            packets = write(part, connections(random.Random(1)))
            part.rename(path)
            print(f"{path}: {packets:,} packets, {path.stat().st_size:,} bytes", file=sys.stderr)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(Path(sys.argv[1]))
