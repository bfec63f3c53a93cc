"""Shapes of malicious HTTPS: beacons, exfiltration, guessing and slow requests, by the programs that benign traffic
has.

Sizes and times of what such traffic looks like, random bytes, between the lab's own hosts.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl

from .. import behaviour, https_clients, https_site
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part

PORT = https_site.PORT
_TASKS = 12

_HTTPS = pairs(https_site.SERVERS, https_clients.CLIENTS)
_UP = pairs(https_site.SERVERS, https_clients.UP_CLIENTS)
_TLS = (PORT,)

ACTIVITIES = {
    "beacon_https": Activity("web", _HTTPS, malicious="beacon_https", tcp_ports=_TLS),
    "beacon_quic": Activity("web", pairs(https_site.HTTP3_SERVERS, ("aioquic",)), malicious="beacon_quic"),
    "exfiltration_burst": Activity("web", _UP, malicious="exfiltration_burst", tcp_ports=_TLS),
    "exfiltration_steady": Activity("web", _UP, malicious="exfiltration_steady", tcp_ports=_TLS),
    "exfiltration_drip": Activity("web", _UP, malicious="exfiltration_drip", tcp_ports=_TLS),
    "guess_https": Activity("web", _HTTPS, malicious="guess_https", tcp_ports=_TLS),
    "slow_http": Activity("web", pairs(https_site.SERVERS, ("python",)), malicious="slow_http", tcp_ports=_TLS),
}


def site(part: Part) -> dict[str, int]:
    """Path -> bytes of all the server has; the client draws the same from the same seed."""
    draw = part.draw
    if part.activity.startswith("beacon"):
        # Mostly "nothing to do", now and then a task, seldom a module to load.
        return {f"/task{number}": draw.choice((0, 16, 48, 48, 48, 64, 512, 4096, 150_000)) for number in range(_TASKS)}
    return {"/login": 1800}


def serve(part: Part) -> None:
    root = part.scratch / "site"
    root.mkdir()
    for path, size in site(part).items():
        (root / path.lstrip("/")).write_bytes(os.urandom(size))
    https_site.serve(part, root, takes=part.activity != "slow_http" and part.server != "caddy-h3")


def act(part: Part) -> None:
    check(part)
    if part.activity == "slow_http":
        _slow(part)
    else:
        https_clients.drive(part, _play)


def _play(part: Part, client: https_clients.Client) -> None:
    draw, files, kind = part.draw, site(part), part.activity
    draw.seed(part.seed + 1)
    if kind.startswith("beacon"):
        interval, jitter = draw.choice((1.5, 3, 5, 8)), draw.choice((0.0, 0.1, 0.2, 0.5))
        for turn in range(400):
            task = f"/task{turn % _TASKS}"
            client.get([task])
            if files[task] > 64:
                client.post("/result", draw.randrange(64, 40_000))
            if not part.pause(behaviour.beacon(interval, jitter, draw)):
                return
    elif kind == "exfiltration_burst":
        for _ in range(3):
            client.post("/in", int(min(draw.lognormvariate(13.5, 0.8), 6_000_000)))
            if not part.pause(draw.uniform(1, 5)):
                return
    elif kind == "exfiltration_steady":
        for _ in range(400):
            client.post("/in", 32_768)
            if not part.pause(1.0):
                return
    elif kind == "exfiltration_drip":
        for _ in range(200):
            client.post("/in", draw.randrange(200, 1200))
            if not part.pause(draw.expovariate(1 / 4)):
                return
    elif kind == "guess_https":
        for _ in range(150):
            client.post("/login", draw.randrange(30, 60))
            if not part.pause(draw.uniform(0.1, 0.4)):
                return


def _slow(part: Part) -> None:
    """Requests whose headers come a line at a time: at most 15 connections, to the lab's own server."""
    draw, context = part.draw, ssl._create_unverified_context()
    held = []
    for _ in range(15):
        raw = socket.create_connection((part.address, PORT), 20)
        connection = context.wrap_socket(raw)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n")
        held.append(connection)
    while part.left() > 0:
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"X-%d: %d\r\n" % (draw.randrange(9999), draw.randrange(9999)))
        if not part.pause(draw.uniform(1.5, 3)):
            break
