"""The shape of a port scan: connections to one of the lab's own addresses, nothing sent, at most 1,000 ports."""

from __future__ import annotations

import contextlib
import socket
import sys

from ..activity import Activity
from ..part import Part

_OPEN = (21, 22, 25, 80, 110, 143, 443, 993, 3306, 5432, 8080)

ACTIVITIES = {
    "port_scan": Activity("infrastructure", ("none/python",), malicious="port_scan", any_tunnel=False),
}


def serve(part: Part) -> None:
    held = []
    for port in _OPEN:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((part.address, port))
        listener.listen(16)
        held.append(listener)
    part.ready()
    import select

    while True:
        for listener in select.select(held, (), ())[0]:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError):
                # The banner such a service would greet with.
                connection.sendall(b"220 lab ready, at your service\r\n")
            connection.close()


def act(part: Part) -> None:
    if not part.address.startswith("10.77."):
        sys.exit(f"{part.address} is not of the lab")
    draw = part.draw
    ports = list(range(1, 1001))
    draw.shuffle(ports)
    for port in ports:
        with socket.socket() as connection:
            connection.settimeout(1.5)
            with contextlib.suppress(OSError):
                connection.connect((part.address, port))
                if draw.random() < 0.7:
                    connection.recv(64)
        if not part.pause(draw.expovariate(1 / 0.02)):
            return
