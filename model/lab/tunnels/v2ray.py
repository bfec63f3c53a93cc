"""V2Ray's transports: VMess over TCP, TLS, WebSocket, mKCP (UDP) and QUIC, its forwarder taking the ports inside."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator
from random import Random

from ..activity import Tunnel
from ..forward import ports
from ..inner import choices
from ..part import Part
from ..serving import running, wait_for_port

TUNNELS = {
    f"vmess_{transport}": Tunnel("VMess", ("v2ray",), ports_only=True)
    for transport in ("tcp", "tls", "websocket", "kcp", "quic")
}


def _stream(part: Part, serving: bool, draw: Random) -> dict[str, object]:
    tls: dict[str, object] = {
        "security": "tls",
        "tlsSettings": {
            "certificates": [{"certificateFile": f"{part.secrets}/cert.pem", "keyFile": f"{part.secrets}/key.pem"}]
        }
        if serving
        else {"allowInsecure": True, "serverName": "lab.test"},
    }
    dress = draw.choice(("none", "srtp", "utp", "wechat-video", "dtls", "wireguard"))
    kinds: dict[str, dict[str, object]] = {
        "vmess_tcp": {"network": "tcp"},
        "vmess_tls": {"network": "tcp", **tls},
        "vmess_websocket": {"network": "ws", "wsSettings": {"path": "/ws"}, **tls},
        "vmess_kcp": {
            "network": "kcp",
            "kcpSettings": {"header": {"type": dress}, "uplinkCapacity": 3, "downlinkCapacity": 8},
        },
        "vmess_quic": {
            "network": "quic",
            "quicSettings": {"security": "none", "key": "", "header": {"type": "none"}},
            **tls,
        },
    }
    return kinds[part.through]


def _command(part: Part, serving: bool) -> tuple[list[str], int]:
    draw = choices(part)
    identity, port = str(uuid.UUID(int=draw.getrandbits(128), version=4)), draw.choice((443, 443, 8443, 10086))
    cipher, several = draw.choice(("auto", "aes-128-gcm", "chacha20-poly1305")), draw.random() < 0.4
    stream = _stream(part, serving, draw)
    if serving:
        made = {
            "inbounds": [
                {
                    "listen": part.address,
                    "port": port,
                    "protocol": "vmess",
                    "settings": {"clients": [{"id": identity, "alterId": 0}]},
                    "streamSettings": stream,
                }
            ],
            "outbounds": [{"protocol": "freedom"}],
        }
    else:
        made = {
            "inbounds": [
                {
                    "listen": part.loopback,
                    "port": inside,
                    "protocol": "dokodemo-door",
                    "settings": {"address": part.loopback, "port": inside, "network": "tcp"},
                }
                for inside in ports(part)
            ],
            "outbounds": [
                {
                    "protocol": "vmess",
                    "streamSettings": stream,
                    "mux": {"enabled": several, "concurrency": 8},
                    "settings": {
                        "vnext": [
                            {
                                "address": part.address,
                                "port": port,
                                "users": [{"id": identity, "alterId": 0, "security": cipher}],
                            }
                        ]
                    },
                }
            ],
        }
    config = part.scratch / "v2ray.json"
    config.write_text(json.dumps({"log": {"loglevel": "warning"}, **made}))
    return ["v2ray", "-config", str(config)], port


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    command, port = _command(part, True)
    with running(command):
        if part.through in ("vmess_kcp", "vmess_quic"):
            time.sleep(2)
        else:
            wait_for_port(part.address, port)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    with running(_command(part, False)[0]):
        # Asked whether it listens, it would go on to the server: a connection that no inner program made.
        time.sleep(1.5)
        yield part.loopback
