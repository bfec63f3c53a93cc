"""Known ports wrapped in TLS, one TLS connection for each inside: stunnel (OpenSSL), socat (OpenSSL), the lab's own
(Python).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterator
from functools import partial

from ..activity import Tunnel
from ..forward import Streams, background, forwarding, join, ports
from ..inner import choices
from ..part import Part
from ..serving import running, wait_for_port

TUNNELS = {"stunnel": Tunnel("", ("stunnel", "socat"), ports_only=True)}


def _settings(part: Part) -> tuple[str, str, dict[int, int]]:
    """Server, client, and the port on the link of each port inside."""
    draw = choices(part)
    server, client = draw.choice(("stunnel", "socat", "python")), draw.choice(("stunnel", "stunnel", "python"))
    return server, client, dict(zip(ports(part), (443, *range(8443, 8443 + len(ports(part)))), strict=False))


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    server, _, outer = _settings(part)
    cert, key = part.secrets / "cert.pem", part.secrets / "key.pem"
    with contextlib.ExitStack() as stack:
        if server == "stunnel":
            config = part.scratch / "stunnel.conf"
            config.write_text(
                "foreground = yes\npid =\nsyslog = no\ndebug = 3\n"
                + "".join(
                    f"[p{port}]\naccept = {part.address}:{outside}\nconnect = {part.loopback}:{port}\n"
                    f"cert = {cert}\nkey = {key}\n"
                    for port, outside in outer.items()
                )
            )
            stack.enter_context(running(["stunnel4", str(config)]))
        elif server == "socat":
            for port, outside in outer.items():
                stack.enter_context(
                    running(
                        [
                            "socat",
                            (
                                f"OPENSSL-LISTEN:{outside},bind={part.address},reuseaddr,fork,cert={cert},"
                                f"key={key},verify=0"
                            ),
                            f"TCP:{part.loopback}:{port}",
                        ]
                    )
                )
        else:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(cert, key)

            async def take(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(OSError):
                    await join((reader, writer), await asyncio.open_connection(part.loopback, port))

            async def run(ready: asyncio.Event) -> None:
                for port, outside in outer.items():
                    await asyncio.start_server(partial(take, port), part.address, outside, ssl=context)
                ready.set()
                await asyncio.Event().wait()

            background(run)
        for outside in outer.values():
            wait_for_port(part.address, outside)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    _, client, outer = _settings(part)
    if client == "python":
        context = ssl._create_unverified_context()

        async def dial(port: int) -> Streams:
            return await asyncio.open_connection(part.address, outer[port], ssl=context)

        with forwarding(part, dial) as address:
            yield address
        return
    config = part.scratch / "stunnel.conf"
    config.write_text(
        "foreground = yes\npid =\nsyslog = no\ndebug = 3\nclient = yes\n"
        + "".join(
            f"[p{port}]\naccept = {part.loopback}:{port}\nconnect = {part.address}:{outside}\n"
            for port, outside in outer.items()
        )
    )
    with running(["stunnel4", str(config)]):
        # Asked whether it listens, it would go on to the server: a connection that no inner program made.
        time.sleep(0.5)
        yield part.loopback
