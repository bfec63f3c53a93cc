"""Trojan: a proxy that looks like a web server over TLS, its forwarder taking one port inside."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from ..activity import Tunnel
from ..forward import ports
from ..inner import choices
from ..part import Part
from ..serving import running, wait_for_port

TUNNELS = {"trojan": Tunnel("Trojan", ("trojan",), ports_only=True)}
PORT = 443


def _command(part: Part, kind: str, inside: int, settings: dict[str, object]) -> list[str]:
    config = part.scratch / f"trojan{inside}.json"
    tcp = {
        "prefer_ipv4": True,
        "no_delay": True,
        "keep_alive": True,
        "reuse_port": False,
        "fast_open": False,
        "fast_open_qlen": 20,
    }
    config.write_text(
        json.dumps(
            {
                "run_type": kind,
                "password": [f"{choices(part).getrandbits(64):x}"],
                "log_level": 3,
                "tcp": tcp,
                **settings,
            }
        )
    )
    return ["trojan", "-c", str(config)]


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    tls = {
        "cert": f"{part.secrets}/cert.pem",
        "key": f"{part.secrets}/key.pem",
        "key_password": "",
        "cipher": "",
        "cipher_tls13": "",
        "prefer_server_cipher": True,
        "alpn": ["http/1.1"],
        "reuse_session": True,
        "session_ticket": False,
        "session_timeout": 600,
        "plain_http_response": "",
        "curves": "",
        "dhparam": "",
    }
    settings: dict[str, object] = {
        "local_addr": part.address,
        "local_port": PORT,
        "remote_addr": "127.0.0.1",
        "remote_port": 80,
        "ssl": tls,
    }
    with running(_command(part, "server", 0, settings)):
        wait_for_port(part.address, PORT)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    tls = {
        "verify": False,
        "verify_hostname": False,
        "cert": "",
        "cipher": "",
        "cipher_tls13": "",
        "sni": "lab.test",
        "alpn": choices(part).choice((["h2", "http/1.1"], ["http/1.1"])),
        "reuse_session": True,
        "session_ticket": False,
        "curves": "",
    }
    with contextlib.ExitStack() as stack:
        for inside in ports(part):
            settings: dict[str, object] = {
                "local_addr": part.loopback,
                "local_port": inside,
                "remote_addr": part.address,
                "remote_port": PORT,
                "target_addr": part.loopback,
                "target_port": inside,
                "udp_timeout": 60,
                "ssl": tls,
            }
            stack.enter_context(running(_command(part, "forward", inside, settings)))
        time.sleep(1)
        yield part.loopback
