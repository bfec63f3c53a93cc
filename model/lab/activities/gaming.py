"""Games whose traffic follows published models: shooters and strategy over UDP, role playing over TCP.

Both sides send by a clock of their own (see behaviour.GAMES); the player's activity changes between fights and quiet,
which changes how much the server has to tell. What games really are is in the families that run game servers.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from random import Random

from .. import behaviour
from ..activity import Activity
from ..part import Part

PORT = 27960
#: What is between one side's packets, and how long they are.
_Clock = tuple[behaviour.Spread, behaviour.Spread]


def _kinds(transport: str) -> tuple[str, ...]:
    return tuple(f"{name}/{name}" for name, kind in behaviour.GAMES.items() if kind[0] == transport)


ACTIVITIES = {
    "game": Activity("gaming", _kinds("udp")),
    "role_playing": Activity("gaming", _kinds("tcp"), tcp_ports=(PORT,)),
}


def _send(part: Part, connection: socket.socket, kind: _Clock, seed: int) -> None:
    """Packets by the game's clock; a late one does not move those after it."""
    draw, number = Random(seed), 0
    gaps, sizes = kind
    following, busy, until = time.monotonic(), 1.0, 0.0
    while part.left() > 0:
        now = time.monotonic()
        if now > until:
            # A fight makes more to tell than walking alone.
            busy, until = draw.choice((0.7, 1.0, 1.0, 1.5)), now + draw.expovariate(1 / 6)
        number += 1
        size = min(int(behaviour.game(sizes, draw) * busy), 1300)
        connection.send((number & 0xFFFFFFFF).to_bytes(4, "little") + os.urandom(max(size - 4, 1)))
        following += behaviour.game(gaps, draw)
        time.sleep(max(0.0, following - time.monotonic()))


def _receive(connection: socket.socket) -> None:
    try:
        while connection.recv(65536) or connection.type == socket.SOCK_DGRAM:
            pass
    except OSError:
        pass


def _play(part: Part, connection: socket.socket, kind: _Clock, seed: int) -> None:
    threading.Thread(target=_receive, args=(connection,), daemon=True).start()
    with contextlib.suppress(OSError):
        _send(part, connection, kind, seed)


def _welcome(part: Part, connection: socket.socket, kind: _Clock) -> None:
    """One player over TCP. A tunnel that looks whether something listens says nothing and gets nothing."""
    if connection.recv(4096):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The character, the place and what lies around.
        connection.sendall(os.urandom(Random(part.seed).randrange(3_000, 25_000)))
        part.begun = time.monotonic()
        _play(part, connection, kind, part.seed + 1)


def serve(part: Part) -> None:
    transport, _, ours = behaviour.GAMES[part.server]
    if transport == "tcp":
        with socket.create_server((part.address, PORT)) as listener:
            part.ready()
            while True:
                threading.Thread(target=_welcome, args=(part, listener.accept()[0], ours), daemon=True).start()
    else:
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connection.bind((part.address, PORT))
        part.ready()
        # A challenge, as shooters answer before they trust a sender's address.
        _, player = connection.recvfrom(2048)
        connection.connect(player)
        connection.send(os.urandom(20))
        connection.recv(2048)
        for _ in range(Random(part.seed).randrange(1, 8)):
            connection.send(os.urandom(1300))
    part.begun = time.monotonic()
    _play(part, connection, ours, part.seed + 1)
    while True:
        time.sleep(1)


def act(part: Part) -> None:
    transport, ours, _ = behaviour.GAMES[part.client]
    if transport == "tcp":
        connection = socket.create_connection((part.address, PORT), 20)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(os.urandom(part.draw.randrange(60, 220)))
    else:
        connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        connection.connect((part.address, PORT))
        connection.settimeout(2)
        for words in (b"\xff\xff\xff\xffgetchallenge", os.urandom(part.draw.randrange(90, 300))):
            for _ in range(8):
                connection.send(words)
                try:
                    connection.recv(2048)
                    break
                except TimeoutError:
                    pass
        connection.settimeout(None)
    _play(part, connection, ours, part.seed)
