"""What one TLS connection to a controller looks like: heartbeats, an operator's commands, a shell the other way round,
a relay's bursts, a module fetched. Shapes only: frames of random bytes between the lab's hosts; nothing is run.

Servers: TLS by Python, by stunnel or by Node.js in front of the lab's own; clients: Python, and a pipe through
`openssl s_client`, `gnutls-cli`, socat or Node.js.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

from .. import behaviour, tls_front
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..tls_pipe import Pipe, connect
from ..workers import side_by_side

PORT = 443

_BOTH = pairs(("python", "stunnel", "node"), ("python", "openssl", "gnutls", "socat", "node"))


def _kind(service: str, name: str) -> Activity:
    return Activity(service, _BOTH, malicious=name, tcp_ports=(PORT,))


ACTIVITIES = {
    "beacon_tls": _kind("web", "beacon_tls"),
    "c2_interactive": _kind("remote_access", "c2_interactive"),
    "c2_stage": _kind("file_transfer", "c2_stage"),
    "reverse_shell": _kind("remote_access", "reverse_shell"),
    "c2_relay": _kind("tunnel", "c2_relay"),
}

_HEAD = struct.Struct(">III")  # bytes that follow, bytes wanted back, milliseconds before they come


def _frame(size: int, wanted: int = 0, after: float = 0.0) -> bytes:
    return _HEAD.pack(size, wanted, int(after * 1000)) + os.urandom(size)


# --- the controller's side ---


class _Controller(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        part = self.server.part
        draw = Random(part.seed + 7 + next(self.server.numbers))
        say = self.request.sendall
        threading.Thread(target=self._answer, daemon=True).start()
        with contextlib.suppress(OSError):
            for wait, frame in _DRIVE[part.activity](draw):
                time.sleep(wait)
                say(frame)

    def _answer(self) -> None:
        """What the other side asks for, it gets."""
        with contextlib.suppress(OSError):
            file = self.request.makefile("rb")
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                size, wanted, after = _HEAD.unpack(head)
                file.read(size)
                if wanted:
                    time.sleep(after / 1000)
                    self.request.sendall(_frame(wanted))


#: Seconds, and what is said after them.
_Said = Iterator[tuple[float, bytes]]


def _nothing(draw: Random) -> _Said:
    """Speaks only when spoken to."""
    yield 3600.0, b""


def _operator(draw: Random) -> _Said:
    """A person types commands: `ls` answers at once, a listing of processes is long, some take seconds."""
    yield draw.uniform(0.3, 2), _frame(draw.randrange(40, 90), draw.randrange(300, 900), 0.05)
    while True:
        keys = draw.randrange(3, 25)
        wait = sum(behaviour.keystroke(draw) for _ in range(keys)) * 0.6 + draw.expovariate(1 / 1.5)
        answer = int(min(draw.lognormvariate(6.8, 1.4), 60_000))
        yield min(wait, 8.0), _frame(keys + draw.randrange(16, 90), answer, draw.expovariate(1 / 0.3))


def _typist(draw: Random) -> _Said:
    """Keys one by one, each echoed by the other side; after a line its output."""
    column = 0
    while True:
        column += 1
        if draw.random() < 0.07 or column > 60:
            column = 0
            yield behaviour.keystroke(draw), _frame(1, int(min(draw.lognormvariate(5.5, 1.5), 20_000)), 0.03)
            yield min(draw.expovariate(1 / 2), 6.0), _frame(1, 1)
        else:
            yield behaviour.keystroke(draw), _frame(1, draw.choice((1, 1, 1, 1, 5)))


def _relay(draw: Random) -> _Said:
    """Other people's connections inside this one: some streams at once, each with its request, pieces, and answer."""
    while True:
        yield min(draw.paretovariate(0.9) * 0.4, 8.0), _frame(draw.randrange(18, 30), 14, 0.01)
        for _ in range(1 + int(draw.expovariate(1 / 3))):
            yield draw.expovariate(1 / 0.05), _frame(draw.randrange(18, 30), 14, draw.uniform(0.005, 0.05))
            answer = int(min(draw.lognormvariate(8.5, 1.5), 200_000))
            yield draw.expovariate(1 / 0.05), _frame(draw.randrange(250, 900), answer, draw.uniform(0.01, 0.2))


_DRIVE = {
    "beacon_tls": _nothing,
    "c2_stage": _nothing,
    "c2_interactive": _operator,
    "reverse_shell": _typist,
    "c2_relay": _relay,
}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    context: ssl.SSLContext | None = None
    part: Part
    numbers: Iterator[int]

    # `request` is a TCP server's, a socket.
    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().finish_request(
                self.context.wrap_socket(request, server_side=True) if self.context else request, client_address
            )


def serve(part: Part) -> None:
    import itertools

    server = _Server((part.address, PORT) if part.server == "python" else ("127.0.0.1", 0), _Controller)
    server.part, server.numbers = part, itertools.count()
    if part.server == "python":
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        part.ready()
        server.serve_forever()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tls_front.front(part, part.server, PORT, server.server_address[1])


# --- the controlled side ---


def act(part: Part) -> None:
    check(part)
    draw = part.draw
    # Two or three sessions side by side, begun one after the other: one activity shall show more than one connection.
    waits = (0.0, *(draw.uniform(0.5, part.seconds / 3) for _ in range(draw.randrange(2, 4))))
    side_by_side(part, [partial(_session, part, Random(draw.random()), wait) for wait in waits])


def _session(part: Part, draw: Random, wait: float) -> None:
    if part.pause(wait):
        pipe = connect(part, part.client, PORT)
        {"beacon_tls": _beat, "c2_stage": _stage}.get(part.activity, _obey)(part, draw, pipe)


def _obey(part: Part, draw: Random, pipe: Pipe) -> None:
    """Says who it is, then answers each frame with as many bytes as it asks for, when it asks."""
    pipe.send(_frame(draw.randrange(90, 400)))
    lock = threading.Lock()

    def answer(size: int, after: float) -> None:
        time.sleep(after)
        piece = 16_000 if part.activity == "c2_relay" else size
        with contextlib.suppress(OSError):
            while size > 0:
                with lock:
                    pipe.send(_frame(min(size, piece)))
                size -= piece

    while part.left() > 0:
        size, wanted, after = _HEAD.unpack(pipe.receive(_HEAD.size))
        pipe.receive(size)
        if part.activity == "c2_relay":
            threading.Thread(target=answer, args=(wanted, after / 1000), daemon=True).start()
        else:
            answer(wanted, after / 1000)


def _ask(pipe: Pipe, size: int, wanted: int) -> None:
    pipe.send(_frame(size, wanted))
    pipe.receive(_HEAD.size + wanted)


def _beat(part: Part, draw: Random, pipe: Pipe) -> None:
    """Heartbeats on a connection that stays; now and then a task and its result. Intervals scaled to the captures."""
    interval, jitter = draw.choice((1, 2, 3, 5)), draw.choice((0.0, 0.1, 0.3))
    beat, answer = draw.randrange(4, 60), draw.randrange(4, 60)
    _ask(pipe, draw.randrange(150, 700), draw.randrange(30, 200))
    while part.pause(behaviour.beacon(interval, jitter, draw)):
        task = draw.random() < 0.08
        _ask(pipe, beat, draw.randrange(80, 600) if task else answer)
        if task:
            _ask(pipe, int(min(draw.lognormvariate(7.5, 1.3), 60_000)), 16)


def _stage(part: Part, draw: Random, pipe: Pipe) -> None:
    """A small first request, then a module of 200 kB to 2 MB, a pause, modules that add to it."""
    for _ in range(3):
        _ask(pipe, draw.randrange(8, 300), int(min(max(draw.lognormvariate(12.9, 0.6), 200_000), 2_000_000)))
        for _ in range(draw.randrange(1, 4)):
            if not part.pause(draw.uniform(0.3, 2.5)):
                return
            _ask(pipe, draw.randrange(60, 300), draw.randrange(16, 100))
    part.pause(draw.uniform(0.5, 4))
