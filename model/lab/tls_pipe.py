"""Bytes to and from a server through one TLS connection, made by Python or by a program that does nothing else."""

from __future__ import annotations

import io
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from typing import cast

from .part import Part

_NODE = """const [host, port] = process.argv.slice(1);
const made = require("tls").connect({host, port: +port, rejectUnauthorized: false});
made.setNoDelay(); made.on("error", () => process.exit(1)); process.stdin.pipe(made); made.pipe(process.stdout);"""


class Pipe:
    """send(), receive() exactly so many bytes, and a file to read from; EOFError when the other side ends."""

    def __init__(self, send: Callable[[bytes], object], file: io.BufferedReader, close: Callable[[], object]) -> None:
        self._send, self.file, self.close = send, file, close

    def send(self, data: bytes) -> None:
        self._send(data)

    def sendall(self, data: bytes) -> None:
        self._send(data)

    def receive(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) < size:
            raise EOFError("the other side ended the connection")
        return data

    def makefile(self, *_: object) -> io.BufferedReader:
        """For http.client, which takes this for a socket."""
        return self.file


def connect(part: Part, client: str, port: int) -> Pipe:
    """`client`: python, openssl, gnutls, socat or node."""
    if client == "python":
        raw = socket.create_connection((part.address, port), 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = ssl._create_unverified_context().wrap_socket(raw, server_hostname=part.name)
        connection.settimeout(max(10.0, part.left() + 5))
        return Pipe(connection.sendall, connection.makefile("rb"), connection.close)
    process = subprocess.Popen(
        _command(part, client, port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    # Popen's pipes for bytes are these.
    into, out = cast("io.BufferedWriter", process.stdin), cast("io.BufferedReader", process.stdout)

    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(into.fileno(), view) :]

    def close() -> None:
        into.close()
        process.terminate()
        process.wait()
        out.close()

    return Pipe(send, out, close)


def _command(part: Part, client: str, port: int) -> list[str]:
    target = f"{part.name}:{port}"
    if client == "openssl":
        return ["openssl", "s_client", "-quiet", "-connect", target]
    if client == "gnutls":
        return ["gnutls-cli", "--logfile=/dev/null", "--insecure", "-p", str(port), part.name]
    if client == "socat":
        return ["socat", "-", f"OPENSSL:{target},verify=0,nodelay"]
    return ["node", "-e", _NODE, part.name, str(port)]
