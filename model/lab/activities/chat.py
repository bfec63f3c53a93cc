"""Chat over WebSocket and TLS, and the shape of a beacon over the same library."""

from __future__ import annotations

import asyncio
import os
import ssl

from .. import behaviour
from ..activity import Activity
from ..part import Part

PORT = 443

_BOTH = ("websockets/websockets",)

ACTIVITIES = {
    "chat_websocket": Activity("chat", _BOTH, tcp_ports=(PORT,)),
    "beacon_websocket": Activity("web", _BOTH, malicious="beacon_websocket", tcp_ports=(PORT,)),
}


def serve(part: Part) -> None:
    """Echoes what a room would: each message acknowledged, and at its own times one from the other side."""
    import websockets

    draw = part.draw
    draw.seed(part.seed + 2)

    async def talk(connection) -> None:
        async def other_side() -> None:
            while True:
                await asyncio.sleep(behaviour.message_gap(draw))
                await connection.send(os.urandom(behaviour.message(draw) + 90))

        task = asyncio.create_task(other_side()) if part.activity == "chat_websocket" else None
        try:
            async for text in connection:
                if part.activity == "chat_websocket":
                    await connection.send(os.urandom(38))
                else:
                    await connection.send(os.urandom(draw.choice((16, 16, 16, 16, 64, 512, 20_000))))
        except websockets.ConnectionClosed:
            pass
        finally:
            if task:
                task.cancel()

    async def run() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        async with websockets.serve(talk, part.address, PORT, ssl=context, max_size=None, ping_interval=20):
            part.ready()
            await asyncio.Event().wait()

    asyncio.run(run())


def act(part: Part) -> None:
    import websockets

    draw = part.draw

    async def read(connection) -> None:
        async for _ in connection:
            pass

    async def run() -> None:
        context = ssl._create_unverified_context()
        async with websockets.connect(f"wss://{part.address}/", ssl=context, max_size=None, open_timeout=30) as connection:
            reader = asyncio.create_task(read(connection))
            interval = draw.choice((1.5, 3, 5))
            while part.left() > 0:
                if part.activity == "chat_websocket":
                    size = behaviour.message(draw)
                    # "is typing", as messengers send it, then the message after the time its keys take.
                    await connection.send(os.urandom(34))
                    await asyncio.sleep(min(sum(behaviour.keystroke(draw) for _ in range(min(size, 40))), 6.0,
                                            max(0.0, part.left())))
                    await connection.send(os.urandom(size + 90))
                    gap = behaviour.message_gap(draw)
                else:
                    await connection.send(os.urandom(draw.randrange(48, 90)))
                    if draw.random() < 0.15:
                        await connection.send(os.urandom(draw.randrange(500, 30_000)))
                    gap = behaviour.beacon(interval, 0.2, draw)
                await asyncio.sleep(max(0.0, min(gap, part.left())))
            reader.cancel()

    asyncio.run(run())
