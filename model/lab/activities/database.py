"""Sessions on a Redis, plain and over TLS: an application's queries, and the shape of password guessing."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from random import Random

from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

PORT, _PASSWORD = 6379, "lab-words-only"

_BOTH = pairs(("redis", "redis-tls"), ("redis", "python"))

ACTIVITIES = {
    "redis": Activity("database", _BOTH, application="Redis", tcp_ports=(PORT,)),
    "guess_redis": Activity("database", _BOTH, application="Redis", malicious="guess_redis", tcp_ports=(PORT,)),
}


def serve(part: Part) -> None:
    tls = part.server == "redis-tls"
    words = (
        [
            "--port",
            "0",
            "--tls-port",
            str(PORT),
            "--tls-cert-file",
            str(part.secrets / "cert.pem"),
            "--tls-key-file",
            str(part.secrets / "key.pem"),
            "--tls-auth-clients",
            "no",
            "--tls-ca-cert-file",
            str(part.secrets / "cert.pem"),
        ]
        if tls
        else ["--port", str(PORT)]
    )
    run_server(
        part,
        [
            "redis-server",
            "--bind",
            part.address,
            "--save",
            "",
            "--requirepass",
            _PASSWORD,
            "--dir",
            str(part.scratch),
            *words,
        ],
        PORT,
    )


def act(part: Part) -> None:
    draw, guessing = part.draw, part.activity == "guess_redis"
    tls = part.server == "redis-tls"
    if part.client == "redis":
        command = ["redis-cli", "-h", part.address, "-p", str(PORT), *(["--tls", "--insecure"] if tls else [])]
        if guessing:
            for _ in range(150):
                subprocess.run([*command, "AUTH", f"{draw.getrandbits(48):x}"], stdout=subprocess.DEVNULL, check=False)
                if not part.pause(draw.uniform(0.05, 0.2)):
                    return
            return
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert client.stdin, "a pipe"
        client.stdin.write(f"AUTH {_PASSWORD}\n".encode())
        while True:
            client.stdin.write(" ".join(_query(draw)).encode() + b"\n")
            client.stdin.flush()
            if not part.pause(draw.expovariate(1 / 0.15)):
                client.stdin.close()
                try:
                    # On a slow link answers are still outstanding; a person closes the program.
                    client.wait(3)
                except subprocess.TimeoutExpired:
                    client.terminate()
                return

    def connect() -> socket.socket:
        made = socket.create_connection((part.address, PORT), 20)
        return ssl._create_unverified_context().wrap_socket(made) if tls else made

    def ask(connection: socket.socket, words: list[str]) -> None:
        parts = [word.encode() for word in words]
        connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in parts))
        connection.recv(65536)

    connection = connect()
    if not guessing:
        ask(connection, ["AUTH", _PASSWORD])
    for turn in range(5000):
        if guessing:
            if turn >= 300:
                return
            if turn and turn % 6 == 0:
                connection.close()
                connection = connect()
            ask(connection, ["AUTH", f"{draw.getrandbits(48):x}"])
        else:
            ask(connection, _query(draw))
        if not part.pause(draw.expovariate(1 / (0.1 if guessing else 0.15))):
            return


def _query(draw: Random) -> list[str]:
    """Nine reads to one write; keys after Zipf, values log-normal (Atikoglu et al. 2012, Facebook's caches)."""
    key = f"user:{int(draw.paretovariate(1.1)) % 1000}"
    if draw.random() < 0.3:
        return ["SET", key, os.urandom(int(min(draw.lognormvariate(4.5, 1.3), 8000)) // 2 + 1).hex()]
    return ["GET", key]
