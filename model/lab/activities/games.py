"""Games' traffic after published measurements: what a client and a server send each other, by size and clock.

No game is run: few have a client without a screen. Each profile names the paper its numbers are after.
"""

from __future__ import annotations

import asyncio
import math
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from ..activity import Activity
from ..part import Part

PORT = 27960


@dataclass(frozen=True)
class Profile:
    """`client`, `server`: endless draws of (seconds until the next sending, payload bytes of each packet in it)."""

    client: Callable[[Random], Iterator[tuple[float, list[int]]]]
    server: Callable[[Random], Iterator[tuple[float, list[int]]]]
    transport: str = "udp"


def _clocked(interval: float, spread: float, size: Callable[[Random], float], least: int, most: int):
    """One packet each `interval` seconds, give or take `spread` of it (normal)."""

    def draws(draw: Random) -> Iterator[tuple[float, list[int]]]:
        # A player's own machine or a server's own tick: its clock is its own.
        own = interval * draw.uniform(0.85, 1.2)
        while True:
            yield max(0.001, draw.gauss(own, own * spread)), [int(min(max(size(draw), least), most))]

    return draws


def _strategy(draw: Random) -> Iterator[tuple[float, list[int]]]:
    """Lockstep: a command or "none" each turn, whoever sends it."""
    turn = draw.choice((0.1, 0.2, 0.25))
    while True:
        yield turn, [draw.choice((16, 16, 16, 17, 23, 23, 27)) + (draw.randrange(60) if draw.random() < 0.03 else 0)]


def _world_client(draw: Random) -> Iterator[tuple[float, list[int]]]:
    while True:
        moving = draw.random() < 0.6
        for _ in range(1 + int(draw.expovariate(1 / 12))):
            yield min(draw.expovariate(8 if moving else 1.5), 3.0), [draw.choice((10, 14, 18, 22, 26, 31, 38, 55))]


def _world_server(draw: Random) -> Iterator[tuple[float, list[int]]]:
    while True:
        crowd = draw.lognormvariate(math.log(90), 0.8)
        for _ in range(10):
            yield max(0.02, draw.gauss(0.2, 0.06)), [int(min(max(draw.lognormvariate(math.log(crowd), 0.7), 12), 8000))]


def _video(draw: Random) -> Iterator[tuple[float, list[int]]]:
    """A frame each 1/60 s: a thin picture here, so that a lab's link and a small machine can take it."""
    number, rate = 0, draw.uniform(1.2e6, 3e6)
    while True:
        number += 1
        left = int(draw.lognormvariate(math.log(rate / 8 / 60), 0.3) * (4 if number % 240 == 1 else 1))
        yield 1 / 60, [1188] * (left // 1188) + [left % 1188 + 40]


PROFILES = {
    # Färber 2002 (Counter-Strike): clients each 42 ms, 82 bytes; the server each 60 ms, extreme-valued about 120.
    "counter_strike": Profile(_clocked(0.042, 0.25, lambda d: d.gauss(60, 10), 30, 140),
                              _clocked(0.060, 0.1, lambda d: 95 - 36 * math.log(-math.log(d.uniform(1e-6, 1 - 1e-6))), 40, 1300)),
    # Lang, Branch, Armitage 2004 (Quake III): clients each 10 to 30 ms, 50 to 70 bytes; snapshots each 50 ms, log-normal.
    "quake3": Profile(_clocked(0.016, 0.15, lambda d: d.gauss(58, 5), 40, 90),
                      _clocked(0.050, 0.03, lambda d: d.lognormvariate(math.log(110), 0.45), 40, 1300)),
    # Claypool, LaPoint, Winslow 2003 (StarCraft, in lockstep): small commands from both sides at every turn.
    "starcraft": Profile(_strategy, _strategy),
    # Chen et al. 2006 (ShenZhou Online): 98 % of clients' packets at most 31 bytes, eight a second; servers' 114 on average.
    "shenzhou": Profile(_world_client, _world_server, "tcp"),
    # Suznjevic et al. 2014 (World of Warcraft): as above in kind, here inside TLS.
    "warcraft": Profile(_world_client, _world_server, "tls"),
    # Carrascosa, Bellalta 2022 (Stadia): pictures down at 60 frames a second, the player's input up each 8 ms or so.
    "stadia": Profile(_clocked(0.012, 0.3, lambda d: d.gauss(66, 14), 40, 140), _video),
}


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}/{name}" for name in names)


ACTIVITIES = {
    "game_shooter": Activity("gaming", _both("counter_strike", "quake3")),
    "game_strategy": Activity("gaming", _both("starcraft")),
    "game_world": Activity("gaming", _both("shenzhou", "warcraft"), tcp_ports=(PORT,)),
    "game_cloud": Activity("gaming", _both("stadia")),
}


async def _send(send: Callable[[bytes], None], draws: Iterator[tuple[float, list[int]]], left: Callable[[], float]) -> None:
    due = time.monotonic()
    for wait, sizes in draws:
        due += wait
        if left() <= 0:
            return
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for size in sizes:
            send(os.urandom(size))


class _Datagrams(asyncio.DatagramProtocol):
    """The server answers whoever speaks to it first."""

    def __init__(self) -> None:
        self.peer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: tuple) -> None:
        if not self.peer.done():
            self.peer.set_result(address)


def serve(part: Part) -> None:
    profile, draw = PROFILES[part.server], Random(part.seed + 1)

    async def udp() -> None:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            _Datagrams, local_addr=(part.address, PORT))
        part.ready()
        peer = await protocol.peer
        await _send(lambda data: transport.sendto(data, peer), profile.server(draw), lambda: 1.0)

    async def tcp() -> None:
        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sending = asyncio.create_task(_send(writer.write, profile.server(draw), lambda: 1.0))
            while await reader.read(65536):
                pass
            sending.cancel()

        context = None
        if profile.transport == "tls":
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        async with await asyncio.start_server(play, part.address, PORT, ssl=context) as server:
            part.ready()
            await server.serve_forever()

    asyncio.run(udp() if profile.transport == "udp" else tcp())


def act(part: Part) -> None:
    profile, draw = PROFILES[part.client], part.draw

    async def udp() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(part.address, PORT))
        await _send(transport.sendto, profile.client(draw), part.left)
        transport.close()

    async def tcp() -> None:
        context = ssl._create_unverified_context() if profile.transport == "tls" else None
        reader, writer = await asyncio.open_connection(part.address, PORT, ssl=context)

        async def read() -> None:
            while await reader.read(65536):
                pass

        reading = asyncio.create_task(read())
        # Log-in: who, and the world as it is.
        writer.write(os.urandom(180))
        await _send(writer.write, profile.client(draw), part.left)
        reading.cancel()
        writer.close()

    asyncio.run(udp() if profile.transport == "udp" else tcp())
