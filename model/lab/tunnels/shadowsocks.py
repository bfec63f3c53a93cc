"""Shadowsocks with its port forwarder (ss-tunnel), and the same with its traffic dressed as HTTP or TLS
(simple-obfs).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from ..activity import Tunnel
from ..forward import ports
from ..inner import choices
from ..part import Part
from ..serving import running, wait_for_port

TUNNELS = {
    "shadowsocks": Tunnel("Shadowsocks", ("shadowsocks-libev",), ports_only=True),
    "shadowsocks_obfs": Tunnel("Shadowsocks", ("shadowsocks-libev", "simple-obfs"), ports_only=True),
}


def _words(part: Part, serving: bool) -> tuple[list[str], int]:
    draw = choices(part)
    cipher = draw.choice(
        (
            "chacha20-ietf-poly1305",
            "chacha20-ietf-poly1305",
            "aes-256-gcm",
            "aes-128-gcm",
            "xchacha20-ietf-poly1305",
            "aes-256-cfb",
        )
    )
    port, dress = draw.choice((8388, 8388, 443)), draw.choice(("http", "tls", "tls"))
    words = ["-s", part.address, "-p", str(port), "-k", f"{draw.getrandbits(96):x}", "-m", cipher, "-t", "300"]
    if part.through == "shadowsocks_obfs":
        words += [
            "--plugin",
            "obfs-server" if serving else "obfs-local",
            "--plugin-opts",
            f"obfs={dress}" + ("" if serving else ";obfs-host=lab.test"),
        ]
    return words, port


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    words, port = _words(part, True)
    with running(["ss-server", *words]):
        wait_for_port(part.address, port)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    words, _ = _words(part, False)
    with contextlib.ExitStack() as stack:
        for port in ports(part):
            stack.enter_context(
                running(["ss-tunnel", *words, "-b", part.loopback, "-l", str(port), "-L", f"{part.loopback}:{port}"])
            )
        # Asked whether it listens, ss-tunnel would go on to the server: a connection that no inner program made.
        time.sleep(0.5)
        yield part.loopback
