"""Data carried out over other carriers than HTTPS: SSH, WebSocket, mail, DNS. Shapes only: random bytes, the lab's servers."""

from __future__ import annotations

import asyncio
import base64
import math
import os
import ssl
import subprocess
from random import Random

from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..workers import side_by_side
from . import bots, dns, mail, ssh

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
    if part.activity == "exfiltration_websocket":
        asyncio.run(_takes(part))
    else:
        {"exfiltration_ssh": ssh, "exfiltration_mail": mail, "exfiltration_dns": dns}[part.activity].serve(part)


async def _takes(part: Part) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    if part.server == "websockets":
        import websockets

        async def take(connection) -> None:
            try:
                async for _ in connection:
                    await connection.send(os.urandom(12))
            except websockets.ConnectionClosed:
                pass

        await websockets.serve(take, part.address, PORT, ssl=context, max_size=None, compression=None)
    else:
        from aiohttp import web

        async def take(request):
            socket = web.WebSocketResponse(max_msg_size=0)
            await socket.prepare(request)
            async for _ in socket:
                await socket.send_bytes(os.urandom(12))
            return socket

        app = web.Application()
        app.router.add_get("/", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, part.address, PORT, ssl_context=context).start()
    part.ready()
    await asyncio.Event().wait()


def act(part: Part) -> None:
    check(part)
    play = {
        "exfiltration_ssh": _ssh,
        "exfiltration_websocket": lambda *words: asyncio.run(_websocket(*words)),
        "exfiltration_mail": _mail,
        "exfiltration_dns": _dns,
    }[part.activity]
    side_by_side(part, [lambda: play(part, part.draw)])


def _bulk(draw: Random) -> int:
    """Bytes of an archive's piece."""
    return int(min(max(draw.lognormvariate(math.log(500_000), 0.8), 60_000), 3_000_000))


def _ssh(part: Part, draw: Random) -> None:
    """Archives one after the other, each over a connection of its own, at a machine's pace."""
    for number in range(12):
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


async def _websocket(part: Part, draw: Random) -> None:
    """Pieces of one size, each acknowledged, at a fixed pace or as fast as they go; after some a new connection."""
    context = ssl._create_unverified_context()
    piece, pace = draw.choice((1024, 4096, 16_384, 65_536)), draw.choice((0.05, 0.2, 0.5))
    while part.left() > 1:
        if part.client == "websockets":
            import websockets

            opened = websockets.connect(f"wss://{part.name}/", ssl=context, max_size=None, compression=None)
        else:
            import aiohttp

            session = aiohttp.ClientSession()
            opened = session.ws_connect(f"wss://{part.name}/", ssl=context)
        async with opened as connection:
            for _ in range(draw.randrange(20, 90)):
                data = os.urandom(piece)
                if part.client == "websockets":
                    await connection.send(data)
                    await connection.recv()
                else:
                    await connection.send_bytes(data)
                    await connection.receive()
                await asyncio.sleep(pace)
                if part.left() < 0.5:
                    break
        if part.client != "websockets":
            await session.close()
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
                    )
                else:
                    dns._ask(part.address, name, dns._A, over=held)
                if not part.pause(pace):
                    return
