"""A call's media both ways, as SRTP looks on the wire: RTP's header, the codec's sizes and clock, a 10-byte tag.

Codecs: Opus (20 ms, variable rate, 24 kbit/s, DTX as in RFC 7587: one frame in 400 ms of silence), G.711 (20 ms, 160
bytes, no silence suppression), G.729 (20 ms, 20 bytes, annex B silence), video (H.264-like: 25 frames a second, large
frames each 2 s, split at 1,100 bytes, beside Opus on the same port).
"""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from random import Random

from .. import behaviour
from ..activity import Activity
from ..part import Part

PORT = 16384
_TAG = 10

ACTIVITIES = {
    "call": Activity("voip", ("opus/opus", "g711/g711", "g729/g729", "video/video"), application="RTP"),
}


def packets(codec: str, draw: Random) -> Iterator[tuple[float, int]]:
    """(seconds since the start, RTP payload bytes), without end."""
    now, spurts, until, speaking = 0.0, behaviour.talk(draw), 0.0, True
    number = 0
    while True:
        while now >= until:
            speaking, lasts = next(spurts)
            until += lasts
        number += 1
        if codec == "g711":
            yield now, 160
        elif speaking:
            yield now, 20 if codec == "g729" else max(12, int(draw.gauss(62, 11)))
        elif number % 20 == 0:
            yield now, 2 if codec == "g729" else 6
        if codec == "video" and number % 2 == 0:
            key = number % 100 == 0
            left = int(draw.lognormvariate(math.log(14_000 if key else 2_200), 0.35))
            while left > 0:
                yield now, min(left, 1100)
                left -= 1100
        now += 0.02


def _send(part: Part, connection: socket.socket, target: tuple[str, int], seed: int) -> None:
    source = Random(seed).getrandbits(32)
    begun = time.monotonic()
    for number, (at, size) in enumerate(packets(part.client, Random(seed))):
        wait = begun + at - time.monotonic()
        if part.left() <= 0:
            return
        if wait > 0:
            time.sleep(wait)
        header = struct.pack(">BBHII", 0x80, 96, number & 0xFFFF, int(at * 48_000) & 0xFFFFFFFF, source)
        connection.sendto(header + os.urandom(size + _TAG), target)


def _receive(connection: socket.socket) -> None:
    while True:
        try:
            connection.recv(2048)
        except OSError:
            return


def serve(part: Part) -> None:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.bind((part.address, PORT))
    part.ready()
    # The callee speaks to whoever calls first, as ICE settles it.
    _, caller = connection.recvfrom(2048)
    part.begun = time.monotonic()
    threading.Thread(target=_receive, args=(connection,), daemon=True).start()
    _send(part, connection, caller, part.seed + 1)
    while True:
        time.sleep(1)


def act(part: Part) -> None:
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    threading.Thread(target=_receive, args=(connection,), daemon=True).start()
    _send(part, connection, (part.address, PORT), part.seed)
