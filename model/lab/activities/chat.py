"""Chat over WebSocket and TLS, and the shape of a beacon over the same library."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

if TYPE_CHECKING:
    from aiohttp import web
    from websockets.asyncio.server import ServerConnection

PORT = 443
#: What sends a message.
_Send = Callable[[bytes], Awaitable[None]]

# nginx has the websockets library behind it.
_BOTH = pairs(("websockets", "aiohttp", "nginx"), ("websockets", "aiohttp"))

ACTIVITIES = {
    "chat_websocket": Activity("chat", _BOTH, tcp_ports=(PORT,)),
    "beacon_websocket": Activity("web", ("websockets/websockets",), malicious="beacon_websocket", tcp_ports=(PORT,)),
}


def serve(part: Part) -> None:
    """Echoes what a room would: each message acknowledged, and at its own times one from the other side."""
    import websockets

    draw = part.draw
    draw.seed(part.seed + 2)

    async def others(send: _Send) -> None:
        while True:
            await asyncio.sleep(behaviour.message_gap(draw))
            await send(os.urandom(behaviour.message(draw) + 90))

    async def talk(connection: ServerConnection) -> None:
        task = asyncio.create_task(others(connection.send)) if part.activity == "chat_websocket" else None
        try:
            async for _ in connection:
                if part.activity == "chat_websocket":
                    await connection.send(os.urandom(38))
                else:
                    await connection.send(os.urandom(draw.choice((16, 16, 16, 16, 64, 512, 20_000))))
        except websockets.ConnectionClosed:
            pass
        finally:
            if task:
                task.cancel()

    async def answer(request: web.Request) -> web.WebSocketResponse:
        """The same room by aiohttp."""
        import aiohttp
        from aiohttp import web

        connection = web.WebSocketResponse(max_msg_size=0, heartbeat=20)
        await connection.prepare(request)
        task = asyncio.create_task(others(connection.send_bytes))
        try:
            async for text in connection:
                if text.type is aiohttp.WSMsgType.BINARY:
                    await connection.send_bytes(os.urandom(38))
        except ConnectionError:
            pass
        finally:
            task.cancel()
        return connection

    async def run() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        if part.server == "aiohttp":
            from aiohttp import web

            application = web.Application()
            application.router.add_get("/", answer)
            runner = web.AppRunner(application)
            await runner.setup()
            await web.TCPSite(runner, part.address, PORT, ssl_context=context).start()
            part.ready()
            await asyncio.Event().wait()
        if part.server == "nginx":
            async with websockets.unix_serve(talk, str(part.scratch / "inside"), max_size=None, ping_interval=20):
                os.chmod(part.scratch / "inside", 0o666)
                await asyncio.to_thread(_nginx, part)
        async with websockets.serve(talk, part.address, PORT, ssl=context, max_size=None, ping_interval=20):
            part.ready()
            await asyncio.Event().wait()

    asyncio.run(run())


def _nginx(part: Part) -> None:
    here = part.scratch
    (here / "nginx.conf").write_text(
        f"""user root; worker_processes 1; daemon off; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {here}; proxy_temp_path {here}; fastcgi_temp_path {here};
uwsgi_temp_path {here}; scgi_temp_path {here};
server {{ listen {part.address}:{PORT} ssl; ssl_certificate {part.secrets}/cert.pem;
ssl_certificate_key {part.secrets}/key.pem; location / {{ proxy_pass http://unix:{here}/inside:; proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 600; }} }} }}
"""
    )
    run_server(part, ["nginx", "-c", str(here / "nginx.conf"), "-e", str(here / "error.log")], PORT)


def act(part: Part) -> None:
    import websockets

    draw = part.draw

    async def read(messages: AsyncIterable[object]) -> None:
        async for _ in messages:
            pass

    @contextlib.asynccontextmanager
    async def connected() -> AsyncIterator[tuple[_Send, AsyncIterable[object]]]:
        """A connection: what sends over it, and what comes."""
        context = ssl._create_unverified_context()
        if part.client == "aiohttp":
            import aiohttp

            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"wss://{part.name}/", ssl=context, max_msg_size=0, heartbeat=20) as made,
            ):
                yield made.send_bytes, made
            return
        async with websockets.connect(f"wss://{part.name}/", ssl=context, max_size=None, open_timeout=30) as opened:
            yield opened.send, opened

    async def run() -> None:
        async with connected() as (send, messages):
            reader = asyncio.create_task(read(messages))
            interval = draw.choice((1.5, 3, 5))
            while part.left() > 0:
                if part.activity == "chat_websocket":
                    size = behaviour.message(draw)
                    # "is typing", as messengers send it, then the message after the time its keys take.
                    await send(os.urandom(34))
                    await asyncio.sleep(
                        min(sum(behaviour.keystroke(draw) for _ in range(min(size, 40))), 6.0, max(0.0, part.left()))
                    )
                    await send(os.urandom(size + 90))
                    gap = behaviour.message_gap(draw)
                else:
                    await send(os.urandom(draw.randrange(48, 90)))
                    if draw.random() < 0.15:
                        await send(os.urandom(draw.randrange(500, 30_000)))
                    gap = behaviour.beacon(interval, 0.2, draw)
                await asyncio.sleep(max(0.0, min(gap, part.left())))
            reader.cancel()

    asyncio.run(run())
