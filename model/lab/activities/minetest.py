"""A game server that exists: Minetest's, with its standard game, and players of the lab's own that walk about in it.

The player speaks the protocol as the game does: reliable packets acknowledged and sent again, log-in without a
password, media it lacks asked for, its position ten times a second, each block of the map confirmed.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from random import Random

from ..activity import Activity
from ..part import Part
from ..serving import running, wait_for_udp

PORT = 30000
_SERVER = "/usr/games/minetestserver"

ACTIVITIES = {
    "minetest": Activity("gaming", ("minetest/player",)),
}


def serve(part: Part) -> None:
    config, world = part.scratch / "minetest.conf", part.scratch / "world"
    config.write_text(
        f"""bind_address = {part.address}
port = {PORT}
ipv6_server = false
server_announce = false
disable_anticheat = true
disallow_empty_password = false
mg_name = {part.draw.choice(("flat", "v6"))}
num_emerge_threads = 1
max_block_generate_distance = 3
debug_log_level =
"""
    )
    world.mkdir()
    (world / "world.mt").write_text(
        "gameid = minetest_game\nbackend = dummy\nplayer_backend = dummy\nauth_backend = sqlite3\n"
    )
    with running([_SERVER, "--config", str(config), "--world", str(world), "--quiet"]) as process:
        wait_for_udp(part.address, PORT)
        part.ready()
        process.wait()


def act(part: Part) -> None:
    draw = part.draw
    players = [_Player(part, draw.getrandbits(30)) for _ in range(draw.choice((1, 1, 2)))]
    threads = [threading.Thread(target=player.play) for player in players]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not all(player.blocks for player in players):
        sys.exit("the world did not come")


def _text(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


@dataclass
class _Waiting:
    """A packet that is not acknowledged yet, and when it is sent again."""

    whole: bytes
    again: float


class _Player:
    """One player's connection: channels 0 to 2, each with its own sequence of reliable packets."""

    def __init__(self, part: Part, seed: int) -> None:
        self.part, self.draw, self.name = part, Random(seed), b"ann%d" % (seed % 10_000)
        self.connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.connection.connect((part.address, PORT))
        self.connection.settimeout(0.02)
        self.peer, self.following = 0, [65500] * 3
        #: Both by channel and number; of a split packet its pieces, by their place in it.
        self.waiting: dict[tuple[int, int], _Waiting] = {}
        self.pieces: dict[tuple[int, int], dict[int, bytes]] = {}
        self.blocks, self.state, self.place = 0, "connecting", (0.0, 100.0, 0.0)
        self.confirm: list[bytes] = []

    def _send(self, channel: int, body: bytes) -> None:
        self.connection.send(struct.pack(">IHB", 0x4F457403, self.peer, channel) + body)

    def _reliably(self, channel: int, body: bytes) -> None:
        number = self.following[channel]
        self.following[channel] = (number + 1) & 0xFFFF
        whole = b"\3" + struct.pack(">H", number) + body
        self.waiting[channel, number] = _Waiting(whole, time.monotonic() + 0.5)
        self._send(channel, whole)

    def _say(self, channel: int, command: int, body: bytes, reliable: bool = True) -> None:
        (self._reliably if reliable else self._send)(channel, b"\1" + struct.pack(">H", command) + body)

    def _take(self, channel: int, body: bytes) -> None:
        kind = body[0]
        if kind == 3:
            self._send(channel, b"\0\0" + body[1:3])
            self._take(channel, body[3:])
        elif kind == 0:
            if body[1] == 0:
                self.waiting.pop((channel, struct.unpack(">H", body[2:4])[0]), None)
            elif body[1] == 1 and not self.peer:
                self.peer = struct.unpack(">H", body[2:4])[0]
                self.state = "greeting"
        elif kind == 1:
            self._understand(body[1:])
        elif kind == 2:
            number, count, index = struct.unpack(">HHH", body[1:7])
            pieces = self.pieces.setdefault((channel, number), {})
            pieces[index] = body[7:]
            if len(pieces) == count:
                self._understand(b"".join(pieces[at] for at in range(count)))
                del self.pieces[channel, number]

    def _understand(self, body: bytes) -> None:
        if len(body) < 2:
            return
        command = struct.unpack(">H", body[:2])[0]
        if command == 0x02 and self.state == "greeting":
            self.state = "entering"
            self._say(1, 0x50, _text(os.urandom(16)) + _text(os.urandom(256)) + b"\1")
        elif command == 0x03 and self.state == "entering":
            self.state = "loading"
            self.place = struct.unpack(">fff", body[2:14])
            self._say(1, 0x11, _text(b""))
        elif command == 0x3C and self.state == "loading":
            self._load(body)
        elif command == 0x34:
            self.place = struct.unpack(">fff", body[2:14])
        elif command == 0x20:
            self.blocks += 1
            self.confirm.append(body[2:8])
        elif command == 0x0A:
            sys.exit(f"the game did not let its player in: {body[2:60]!r}")

    def _load(self, body: bytes) -> None:
        """Most have the media from before; some lack files."""
        at, names = 4, []
        for _ in range(struct.unpack(">H", body[2:4])[0]):
            for kept in (True, False):
                length = struct.unpack(">H", body[at : at + 2])[0]
                if kept:
                    names.append(body[at + 2 : at + 2 + length])
                at += 2 + length
        lacking = self.draw.sample(names, min(len(names), self.draw.choice((0, 0, 5, 40, 150))))
        if lacking:
            self._say(1, 0x40, struct.pack(">H", len(lacking)) + b"".join(_text(name) for name in lacking))
        self._say(1, 0x43, b"\5\6\1\0" + _text(b"5.6.1") + b"\0\5")
        self.state = "playing"

    def play(self) -> None:
        part, draw = self.part, self.draw
        self._reliably(0, b"\1")
        ask = step = batch = 0.0
        heading, walking, until = draw.uniform(0, 360), True, 0.0
        while part.left() > 0:
            try:
                data = self.connection.recv(4096)
                self._take(data[6], data[7:])
            except (TimeoutError, ConnectionError):
                pass
            now = time.monotonic()
            for key, entry in list(self.waiting.items()):
                if now > entry.again:
                    entry.again = now + 0.5
                    self._send(key[0], entry.whole)
            if self.state == "greeting" and now > ask:
                ask = now + 0.5
                self._say(1, 0x02, b"\x1d" + struct.pack(">HHH", 0, 37, 41) + _text(self.name), reliable=False)
            if self.state == "playing" and now > step:
                step = now + 0.1
                if now > until:
                    heading, walking, until = (
                        heading + draw.gauss(0, 60),
                        draw.random() < 0.7,
                        now + draw.expovariate(1 / 4),
                    )
                    if draw.random() < 0.3:
                        # Digs or places something, or changes what the hand holds.
                        self._say(0, 0x37, struct.pack(">H", draw.randrange(8)))
                elif draw.random() < 0.15:
                    heading += draw.gauss(0, 15)
                speed = (
                    (40 * math.sin(math.radians(heading)), 40 * math.cos(math.radians(heading)))
                    if walking
                    else (0.0, 0.0)
                )
                x, y, z = self.place
                self.place = (x + speed[0] * 0.1, y, z + speed[1] * 0.1)
                self._say(
                    0,
                    0x23,
                    struct.pack(
                        ">3i3iiiIBB",
                        *(int(value * 100) for value in (*self.place, speed[0], 0.0, speed[1])),
                        int(draw.gauss(0, 300)),
                        int(heading % 360 * 100),
                        int(walking),
                        100,
                        6,
                    ),
                    reliable=False,
                )
            if self.confirm and now > batch:
                batch = now + 0.1
                self._say(2, 0x24, bytes([len(self.confirm[:200])]) + b"".join(self.confirm[:200]))
                del self.confirm[:200]
        self._send(0, b"\0\3")
