"""Bytes to and from a server through one TLS connection, made by Python or by a program that does nothing else."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess

from .part import Part

_NODE = """const [host, port] = process.argv.slice(1);
const made = require("tls").connect({host, port: +port, rejectUnauthorized: false});
made.setNoDelay(); made.on("error", () => process.exit(1)); process.stdin.pipe(made); made.pipe(process.stdout);"""


class Pipe:
    """send(), receive() exactly so many bytes, and a file to read from; EOFError when the other side ends."""

    def __init__(self, send, file, close) -> None:
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

    def makefile(self, *_: object):
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

    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(process.stdin.fileno(), view) :]

    def close() -> None:
        process.stdin.close()
        process.terminate()
        process.wait()
        process.stdout.close()

    return Pipe(send, process.stdout, close)


def _command(part: Part, client: str, port: int) -> list[str]:
    target = f"{part.name}:{port}"
    if client == "openssl":
        return ["openssl", "s_client", "-quiet", "-connect", target]
    if client == "gnutls":
        return ["gnutls-cli", "--logfile=/dev/null", "--insecure", "-p", str(port), part.name]
    if client == "socat":
        return ["socat", "-", f"OPENSSL:{target},verify=0,nodelay"]
    return ["node", "-e", _NODE, part.name, str(port)]
