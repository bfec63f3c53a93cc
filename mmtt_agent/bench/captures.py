"""The two captures that benchmarks run on: ``short.pcap``, 60,000 short connections, and ``long.pcap``, 60 long ones.
Always the same bytes.

Connections begin with what openings.pcap has recorded of TLS, HTTP and DNS (three conversations of
tests/data/office.pcap), so that Zeek's analyzers have their usual work with them; what follows is random.
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
#: Bytes of each, a little more than it has.
SIZES = {"short": 300_000_000, "long": 800_000_000}
#: Packets of `short.pcap` are spread over so many seconds.
SECONDS = 600

SYN, ACK, PUSH, FIN = 2, 16, 8, 1
#: A packet of a conversation: µs after the one before, from the originator, flags (None: UDP), payload.
Step = tuple[int, bool, int | None, bytes]

_OPENINGS = Path(__file__).with_name("openings.pcap")
#: What payloads are cut from, instead of new random bytes for each.
_NOISE = random.Random(2).randbytes(1 << 16)

# No-operation twice, and time stamps: what most stacks send with every segment.
_TIMESTAMPS = bytes.fromhex("0101080a0000000100000001")
_SYN_OPTIONS = bytes.fromhex("020405b40402080a000000010000000001030307")


def recorded(port: int) -> list[tuple[bool, bytes]]:
    """The payloads of the first connection over IPv4 to a port of the server in openings.pcap, each with its sender."""
    data = _OPENINGS.read_bytes()
    at, client, found = 24, None, []
    while at < len(data):
        frame = data[at + 16 : at + 16 + int.from_bytes(data[at + 8 : at + 12], "little")]
        at += 16 + len(frame)
        if frame[12:14] != b"\x08\x00" or frame[23] not in (6, 17):
            continue
        body = frame[34 : 14 + int.from_bytes(frame[16:18], "big")]
        ports = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")
        if port not in ports:
            continue
        client = client or max(ports)
        payload = body[8:] if frame[23] == 17 else body[(body[12] >> 4) * 4 :]
        if client in ports and payload:
            found.append((ports[1] == port, payload))
    return found


TLS, HTTP, DNS = recorded(443), recorded(80), recorded(53)


def noise(rng: random.Random, size: int) -> bytes:
    at = rng.randrange(len(_NOISE) - size)
    return _NOISE[at : at + size]


def encrypted(rng: random.Random, size: int) -> bytes:
    """A TLS record."""
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + noise(rng, size)


def opening(rtt: int) -> Iterator[Step]:
    yield 0, True, SYN, b""
    yield rtt, False, SYN | ACK, b""
    yield 50, True, ACK, b""


def closing(rng: random.Random, rtt: int) -> Iterator[Step]:
    yield rng.randint(100, 900_000), True, ACK | FIN, b""
    yield rtt, False, ACK | FIN, b""
    yield 40, True, ACK, b""


def tls(rng: random.Random) -> Iterator[Step]:
    """A request or two over TLS, with acknowledgements."""
    rtt = rng.randint(4_000, 60_000)
    yield from opening(rtt)
    for from_client, payload in TLS[:4]:
        yield (300 if from_client else rtt), from_client, ACK | PUSH, payload
    for _ in range(rng.choice((1, 1, 2))):
        yield rng.randint(300, 90_000), True, ACK | PUSH, encrypted(rng, rng.randint(60, 600))
        for _ in range(rng.randint(1, 3)):
            yield rng.randint(20, 400), False, ACK | PUSH, encrypted(rng, rng.randint(60, 1400))
        yield 60, True, ACK, b""
    yield from closing(rng, rtt)


def http(rng: random.Random) -> Iterator[Step]:
    """A request as it was recorded."""
    rtt = rng.randint(4_000, 60_000)
    yield from opening(rtt)
    for from_client, payload in HTTP:
        yield (300 if from_client else rng.randint(20, 400)), from_client, ACK | PUSH, payload
        if not from_client:
            yield 30, True, ACK, b""
    yield from closing(rng, rtt)


def lookup(rng: random.Random) -> Iterator[Step]:
    """A question and an answer."""
    for from_client, payload in DNS[:2]:
        yield (0 if from_client else rng.randint(500, 60_000)), from_client, None, payload


def datagrams(rng: random.Random) -> Iterator[Step]:
    """Something like a short QUIC connection."""
    yield 0, True, None, noise(rng, 1200)
    yield rng.randint(4_000, 60_000), False, None, noise(rng, 1200)
    for _ in range(rng.randint(6, 14)):
        yield rng.randint(20, 40_000), rng.random() < 0.4, None, noise(rng, rng.randint(40, 1200))


def download(rng: random.Random) -> Iterator[Step]:
    """A long transfer, two segments to an acknowledgement."""
    yield from opening(9_000)
    for from_client, payload in TLS[:4]:
        yield 300, from_client, ACK | PUSH, payload
    for _ in range((LONG_PACKETS - 7) // 3):
        yield rng.randint(200, 3_000), False, ACK, noise(rng, 1448)
        yield rng.randint(5, 60), False, ACK, noise(rng, 1448)
        yield rng.randint(5, 60), True, ACK, b""


def short(rng: random.Random) -> Iterator[tuple[int, int, int, list[Step]]]:
    """Start in µs, originator's and responder's port, packets of each connection."""
    for number in range(SHORT_CONNECTIONS):
        kind, port = rng.choices(((tls, 443), (http, 80), (lookup, 53), (datagrams, 8443)), (44, 5, 41, 10))[0]
        start = number * SECONDS * 1_000_000 // SHORT_CONNECTIONS
        yield start, 20_000 + number % 40_000, port, list(kind(rng))


def long(rng: random.Random) -> Iterator[tuple[int, int, int, list[Step]]]:
    for number in range(LONG_CONNECTIONS):
        yield rng.randint(0, 1_000_000), 30_000 + number, 443, list(download(rng))


def _checksum(*parts: bytes) -> int:
    data = b"".join(parts)
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _frame(orig: bytes, resp: bytes, ports: tuple[int, int], step: Step, seq: list[int]) -> bytes:
    """The packet, Ethernet header and all. ``seq`` is what each side has sent so far."""
    _, from_orig, flags, payload = step
    size = len(payload)
    source, destination = (orig, resp) if from_orig else (resp, orig)
    sport, dport = ports if from_orig else ports[::-1]
    if flags is None:
        length = 8 + size
        pseudo = struct.pack("!4s4sHH", source, destination, 17, length)
        header = struct.pack("!HHHH", sport, dport, length, 0)
        header = header[:6] + struct.pack("!H", _checksum(pseudo, header, payload) or 0xFFFF)
        protocol = 17
    else:
        options = _SYN_OPTIONS if flags & SYN else _TIMESTAMPS
        mine, other = (0, 1) if from_orig else (1, 0)
        offset = (20 + len(options)) // 4 << 4
        ack = seq[other] if flags & ACK else 0
        header = struct.pack("!HHIIBBHHH", sport, dport, seq[mine], ack, offset, flags, 500, 0, 0)
        pseudo = struct.pack("!4s4sHH", source, destination, 6, len(header) + len(options) + size)
        header = header[:16] + struct.pack("!HH", _checksum(pseudo, header, options, payload), 0) + options
        seq[mine] += size + bool(flags & (SYN | FIN))
        protocol = 6
    total = 20 + len(header) + size
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, total, 0, 0x4000, 64, protocol, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return b"\x02\0\0\0\0\1\x02\0\0\0\0\2\x08\0" + ip + header + payload


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
            out.write(struct.pack("<IIII", 1_700_000_000 + seconds, microseconds, len(frame), len(frame)) + frame)
    return len(order)


_CAPTURES = {"short": short, "long": long}


def missing(directory: Path) -> list[str]:
    """The names of those that are still to be made there."""
    return [name for name in _CAPTURES if not (directory / f"{name}.pcap").exists()]


def make(directory: Path) -> dict[str, Path]:
    """Make both captures unless they are there."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in missing(directory):
        path = directory / f"{name}.pcap"
        part = path.with_suffix(".part")
        try:
            packets = write(part, _CAPTURES[name](random.Random(1)))
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)
        print(f"{path}: {packets:,} packets, {path.stat().st_size:,} bytes", file=sys.stderr)
    return {name: directory / f"{name}.pcap" for name in _CAPTURES}
