"""Connections carried over WebSocket and TLS, as where only the web is let through. Servers: the lab's own and
websockify.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..activity import Tunnel
from ..forward import Ends, background, forwarding, join, ports
from ..inner import choices
from ..part import Part
from ..serving import running, wait_for_port

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection
    from websockets.asyncio.server import ServerConnection

PORT = 443

TUNNELS = {"websocket": Tunnel("", ("websockify",), ports_only=True)}


class _Stream:
    """A WebSocket connection as both of asyncio's streams."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.waiting: list[bytes] = []
        self.ending: asyncio.Future[None] | None = None

    async def read(self, _: int, /) -> bytes:
        import websockets

        try:
            return await self.connection.recv(decode=False)
        except websockets.ConnectionClosed:
            return b""

    def write(self, data: bytes, /) -> None:
        self.waiting.append(data)

    async def drain(self) -> None:
        import websockets

        with contextlib.suppress(websockets.ConnectionClosed):
            while self.waiting:
                await self.connection.send(self.waiting.pop(0))

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.ending = asyncio.ensure_future(self.connection.close())


def _kind(part: Part) -> str:
    # websockify serves one target per port, so only what has one port.
    return choices(part).choice(("own", "websockify")) if len(ports(part)) == 1 else "own"


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    if _kind(part) == "websockify":
        with running(
            [
                "websockify",
                "--cert",
                f"{part.secrets}/cert.pem",
                "--key",
                f"{part.secrets}/key.pem",
                "--ssl-only",
                f"{part.address}:{PORT}",
                f"{part.loopback}:{ports(part)[0]}",
            ]
        ):
            wait_for_port(part.address, PORT)
            yield part.loopback
        return

    async def take(connection: ServerConnection) -> None:
        assert connection.request, "there is one once the handshake is done"
        try:
            ends = await asyncio.open_connection(part.loopback, int(connection.request.path.rsplit("/", 1)[1]))
        except OSError:
            return
        stream = _Stream(connection)
        await join((stream, stream), ends)

    async def run(ready: asyncio.Event) -> None:
        import websockets

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        # No compression: what is inside is encrypted already.
        async with websockets.serve(take, part.address, PORT, ssl=context, max_size=None, compression=None):
            ready.set()
            await asyncio.Event().wait()

    background(run)
    yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    context = ssl._create_unverified_context()

    async def dial(port: int) -> Ends:
        import websockets

        connection = await websockets.connect(
            f"wss://{part.address}/tunnel/{port}",
            ssl=context,
            max_size=None,
            compression=None,
            open_timeout=30,
            subprotocols=[websockets.Subprotocol("binary")] if _kind(part) == "websockify" else None,
        )
        stream = _Stream(connection)
        return stream, stream

    with forwarding(part, dial) as address:
        yield address
