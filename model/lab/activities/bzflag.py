"""A tank battle on a BZFlag server that exists; the tanks are the lab's own, the rivals on the server's own host.

Joining, the world, shots and deaths go by TCP, motion by UDP, for some by TCP alone, where a network lets no UDP through.
A tank tells its motion when it changes, at most 30 times a second, as the game does.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
import threading
import time
from random import Random

from ..activity import Activity
from ..part import Part
from ..serving import running, wait_for_port

PORT = 5154
_SERVER = "/usr/games/bzfs"

ACTIVITIES = {
    "tanks": Activity("gaming", ("bzflag/tank", "bzflag/tank-tcp")),
}


def serve(part: Part) -> None:
    draw = part.draw
    with running([_SERVER, "-i", part.address, "-p", str(PORT), "-set", "_worldSize", "400", "-j", "+s", "8", "-ms", "3"]) as process:
        wait_for_port(part.address, PORT)
        part.ready()
        for number in range(draw.choice((1, 2, 3, 5))):
            threading.Thread(target=_Tank(part, f"rival{number}", part.seed + 1 + number, True).play, daemon=True).start()
        process.wait()


def act(part: Part) -> None:
    tank = _Tank(part, "ann", part.seed, by_udp=part.client == "tank")
    tank.play()
    if not tank.told:
        sys.exit("the battle did not begin")


class _Tank:
    def __init__(self, part: Part, name: str, seed: int, by_udp: bool) -> None:
        self.part, self.draw, self.by_udp = part, Random(seed), by_udp
        self.alive, self.linked, self.told, self.place, self.heading = False, False, 0, [0.0, 0.0, 0.0], 0.0
        self.sending = threading.Lock()
        self.stream = socket.create_connection((part.address, PORT), 20)
        self.stream.settimeout(None)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream.sendall(b"BZFLAG\r\n\r\n")
        greeting = b""
        while len(greeting) < 9:
            piece = self.stream.recv(9 - len(greeting))
            if not piece:
                sys.exit("the game server closed the connection")
            greeting += piece
        self.number = greeting[8]
        self.packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.packets.connect((part.address, PORT))
        threading.Thread(target=self._hear, args=(self.stream,), daemon=True).start()
        for code in (b"nf", b"ws", b"wh", *((b"gw",) if self.draw.random() < 0.6 else ())):
            self._tell(code, struct.pack(">I", 0) if code == b"gw" else b"")
            part.pause(0.15)
        self._tell(b"en", struct.pack(">Hh32s128s22s60s", 0, -2, name.encode(), b"", b"", b"2.4.26.20230103-MAINT-linux-gnu"))
        if by_udp:
            threading.Thread(target=self._hear, args=(self.packets,), daemon=True).start()
            for _ in range(4):
                self._tell(b"of", bytes([self.number]), live=True)
                part.pause(0.25)
                if self.linked:
                    break

    def _tell(self, code: bytes, body: bytes, live: bool = False) -> None:
        message = struct.pack(">H", len(body)) + code + body
        if live and self.by_udp:
            self.packets.send(message)
        else:
            with self.sending:
                self.stream.sendall(message)

    def _hear(self, connection: socket.socket) -> None:
        data, stream = b"", connection is self.stream
        while True:
            try:
                piece = connection.recv(65536)
            except OSError:
                return
            if stream and not piece:
                return
            data = data + piece if stream else piece
            while len(data) >= 4 and len(data) >= 4 + struct.unpack(">H", data[:2])[0]:
                length = struct.unpack(">H", data[:2])[0]
                with contextlib.suppress(OSError):
                    self._understand(data[2:4], data[4 : 4 + length], not stream)
                data = data[4 + length :]

    def _understand(self, code: bytes, body: bytes, live: bool) -> None:
        if code == b"al" and body[0] == self.number:
            *self.place, self.heading = struct.unpack(">4f", body[1:17])
            self.alive = True
        elif code == b"pi":
            self._tell(b"pi", body, live)
        elif code == b"of" and live:
            self.linked = True
            self._tell(b"og", b"")
        elif code in (b"pu", b"ps"):
            self.told += 1

    def play(self) -> None:
        with contextlib.suppress(OSError):
            self._play()

    def _play(self) -> None:
        part, draw = self.part, self.draw
        began = last = time.monotonic()
        order = shot = 0
        turning = speed = until = told = dies = 0.0
        while part.pause(1 / 30):
            now = time.monotonic()
            step, last = now - last, now
            if not self.alive:
                if now > dies:
                    dies = now + 5
                    self._tell(b"al", b"")
                continue
            changed = now > until
            if changed:
                # Runs straight, turns, or lies in wait.
                turning, speed = draw.choice(((0.0, 24.0), (0.7, 20.0), (-0.7, 20.0), (0.5, 0.0), (0.0, 0.0)))
                until, dies = now + draw.expovariate(1 / 1.2), dies if dies > began else now + draw.expovariate(1 / 20)
            self.heading += turning * step
            motion = (speed * math.cos(self.heading), speed * math.sin(self.heading))
            if math.hypot(self.place[0] + motion[0], self.place[1] + motion[1]) > 180:
                self.heading, until = math.atan2(-self.place[1], -self.place[0]), now + 1
                continue
            self.place = [self.place[0] + motion[0] * step, self.place[1] + motion[1] * step, 0.0]
            # Others reckon on from the last motion: a steady one is told once a second.
            if changed or turning or now - told > 1:
                told, order = now, order + 1
                self._tell(b"pu", struct.pack(">fBiH3f3fff", now - began, self.number, order, 1, *self.place, *motion, 0.0,
                                              self.heading, turning), live=True)
            if draw.random() < 0.02:
                shot = (shot + 1) % 3
                self._tell(b"sb", struct.pack(">fBH3f3ffh2sf", now - began, self.number, shot | order % 250 << 8, self.place[0],
                                              self.place[1], 1.57, 100 * math.cos(self.heading), 100 * math.sin(self.heading), 0.0,
                                              0.0, 0, b"\0\0", 3.5))
            if now > dies:
                self.alive, dies = False, now + 5
                self._tell(b"kl", struct.pack(">Bhh2s", self.number ^ 1, 1, 0, b"\0\0"))
        self._tell(b"ex", b"")
        self.stream.close()
