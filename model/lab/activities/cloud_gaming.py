"""A game rendered elsewhere: its picture down, 60 frames a second, and the player's input up (no game is run)."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterator
from random import Random

from ..activity import Activity
from ..part import Part

PORT = 44700

ACTIVITIES = {"game_cloud": Activity("gaming", ("python/python",))}


def _input(draw: Random) -> Iterator[tuple[float, list[int]]]:
    """Each 12 ms or so, as Carrascosa and Bellalta (2022) found on Stadia; sizes about 66 bytes."""
    own = 0.012 * draw.uniform(0.85, 1.2)
    while True:
        yield max(0.001, draw.gauss(own, own * 0.3)), [int(min(max(draw.gauss(66, 14), 40), 140))]


def _video(draw: Random) -> Iterator[tuple[float, list[int]]]:
    """A frame each 1/60 s in packets of 1,188 bytes: a thin picture, so that the lab's links and a small machine can
    take it.
    """
    number, rate = 0, draw.uniform(1.2e6, 3e6)
    while True:
        number += 1
        left = int(draw.lognormvariate(math.log(rate / 8 / 60), 0.3) * (4 if number % 240 == 1 else 1))
        yield 1 / 60, [1188] * (left // 1188) + [left % 1188 + 40]


async def _send(
    send: Callable[[bytes], None], draws: Iterator[tuple[float, list[int]]], left: Callable[[], float]
) -> None:
    due = time.monotonic()
    for wait, sizes in draws:
        due += wait
        if left() <= 0:
            return
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for size in sizes:
            send(os.urandom(size))


class _Caller(asyncio.DatagramProtocol):
    """The server plays to whoever speaks to it first."""

    def __init__(self) -> None:
        self.address: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if not self.address.done():
            self.address.set_result(address)


def serve(part: Part) -> None:
    async def run() -> None:
        transport, caller = await asyncio.get_running_loop().create_datagram_endpoint(_Caller, (part.address, PORT))
        part.ready()
        address = await caller.address
        await _send(lambda data: transport.sendto(data, address), _video(Random(part.seed + 1)), lambda: 1.0)

    asyncio.run(run())


def act(part: Part) -> None:
    async def run() -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(part.address, PORT)
        )
        await _send(transport.sendto, _input(part.draw), part.left)
        transport.close()

    asyncio.run(run())
