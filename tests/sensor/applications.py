"""Three applications of a site over TLS, each of its own behaviour, and clients of theirs on this machine.

    python applications.py HOME --connections 40 [--nameless] [--seed 1]

HOME holds zeek.pem and zeek.key of tests/support/certificates.py. All take turns; nameless, clients send no SNI.
Prints a line of JSON: by the port that each connection came from, the application.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Connections at a time.
AT_ONCE = 4
NAMES = ("erp", "files", "camera")


def polling(peer: ssl.SSLSocket, draw: random.Random) -> None:
    """Short questions and answers."""
    for _ in range(draw.randint(9, 12)):
        peer.sendall(bytes(draw.randint(180, 240)))
        time.sleep(draw.uniform(0.005, 0.015))
        peer.recv(4096)


def answering(peer: ssl.SSLSocket, draw: random.Random) -> None:
    while peer.recv(4096):
        peer.sendall(bytes(draw.randint(350, 600)))


def fetching(peer: ssl.SSLSocket, draw: random.Random) -> None:
    """One question, and all of a large file."""
    peer.sendall(bytes(draw.randint(90, 130)))
    while peer.recv(65536):
        pass


def giving(peer: ssl.SSLSocket, draw: random.Random) -> None:
    peer.recv(4096)
    peer.sendall(bytes(draw.randint(90_000, 120_000)))


def watching(peer: ssl.SSLSocket, draw: random.Random) -> None:
    """Pieces of a film, as they come."""
    peer.sendall(bytes(draw.randint(300, 340)))
    while peer.recv(4096):
        pass


def filming(peer: ssl.SSLSocket, draw: random.Random) -> None:
    peer.recv(4096)
    for _ in range(draw.randint(18, 24)):
        peer.sendall(bytes(draw.randint(800, 1000)))
        time.sleep(draw.uniform(0.008, 0.012))


CLIENTS = dict(zip(NAMES, (polling, fetching, watching), strict=True))
SERVERS = dict(zip(NAMES, (answering, giving, filming), strict=True))


def serve(name: str, context: ssl.SSLContext) -> int:
    """The port of a server that goes on until the program ends."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)

    def answer(accepted: socket.socket) -> None:
        with accepted, context.wrap_socket(accepted, server_side=True) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            SERVERS[name](peer, random.Random(accepted.fileno() + time.time_ns()))

    def run() -> None:
        while True:
            threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return listening.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--connections", type=int, default=40, help="of each application")
    parser.add_argument("--nameless", action="store_true", help="without SNI")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(options.home / "zeek.pem", options.home / "zeek.key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    ports = {name: serve(name, server) for name in NAMES}

    def connect(number: int) -> tuple[int, str]:
        name = NAMES[number % len(NAMES)]
        called = None if options.nameless else f"{name}.intra.example.org"
        with (
            socket.create_connection(("127.0.0.1", ports[name])) as plain,
            client.wrap_socket(plain, server_hostname=called) as peer,
        ):
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            CLIENTS[name](peer, random.Random(options.seed * 100_000 + number))
            return peer.getsockname()[1], name

    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(json.dumps(dict(pool.map(connect, range(options.connections * len(NAMES))))), flush=True)


if __name__ == "__main__":
    main()
