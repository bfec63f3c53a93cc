"""Terminals besides ssh.py's: Telnet plain and over TLS, SSH by Python's libraries at either end, Mosh over UDP.

A person types line by line; the answers are text of log-normal length.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import socket
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server
from .ssh import client_command, server_command

if TYPE_CHECKING:
    import asyncssh
    import paramiko

TELNET, TELNETS, SSH = 23, 992, 22

ACTIVITIES = {
    "telnet": Activity(
        "remote_access",
        pairs(("telnetd", "telnetlib3"), ("telnet", "telnetlib3", "python")),
        application="Telnet",
        tcp_ports=(TELNET,),
    ),
    "telnet_tls": Activity(
        "remote_access",
        ("telnetlib3/telnetlib3", "telnetlib3/python", "stunnel/python"),
        application="Telnet",
        tcp_ports=(TELNETS,),
    ),
    # Dropbear's key exchange fails with asyncssh (both ways) and its client's with paramiko.
    "console": Activity(
        "remote_access",
        (
            *pairs(("openssh", "asyncssh", "paramiko"), ("asyncssh", "paramiko")),
            "asyncssh/openssh",
            "paramiko/openssh",
            "dropbear/paramiko",
        ),
        application="SSH",
        tcp_ports=(SSH,),
    ),
    "mosh": Activity("remote_access", ("openssh/mosh", "dropbear/mosh")),
}


def _answer(draw: Random) -> bytes:
    """What a command prints: often nothing, else lines of text."""
    if draw.random() < 0.2:
        return b""
    data = os.urandom(int(min(draw.lognormvariate(math.log(180), 1.3), 30_000)) // 2 + 1).hex().encode()
    return b"".join(data[at : at + 70] + b"\r\n" for at in range(0, len(data), 70))


def _script(part: Part, login: bool) -> str:
    """A shell for a real terminal: asks who is there, then answers each line."""
    draw = Random(part.seed + 3)
    text = (
        "printf 'lab login: '; read -r a; printf 'Password: '; stty -echo; read -r b; stty echo; echo\n"
        if login
        else ""
    )
    sizes = " ".join(str(len(_answer(draw)) // 4 * 3) for _ in range(500))
    file = part.scratch / "shell"
    file.write_text(
        f"#!/bin/sh\n{text}printf 'lab$ '\nfor size in {sizes}; do read -r line || exit 0\n"
        "head -c $size /dev/urandom | base64 -w 70; printf 'lab$ '; done\n"
    )
    file.chmod(0o755)
    return str(file)


class _Lines:
    """The same shell without a terminal: each key echoed, each line answered."""

    def __init__(self, seed: int, login: bool) -> None:
        self.draw, self.asked = Random(seed), ["Password: ", "lab login: "] if login else []

    def prompt(self) -> bytes:
        return (self.asked[-1] if self.asked else "lab$ ").encode()

    def take(self, data: bytes) -> bytes:
        said = b""
        for key in data:
            if key in b"\r\n":
                said += b"\r\n"
                if self.asked:
                    self.asked.pop()
                else:
                    said += _answer(self.draw)
                said += self.prompt()
            elif key and self.prompt() != b"Password: ":
                said += bytes([key])
        return said


def _keys(draw: Random, login: bool) -> Iterator[tuple[bytes, float]]:
    """(key, seconds after it), without end."""
    if login:
        for word in (b"ann\r", b"lab-words-only\r"):
            for key in word:
                yield bytes([key]), draw.uniform(0.8, 2.0) if key == 13 else behaviour.keystroke(draw)
    while True:
        for _ in range(min(60, int(draw.lognormvariate(math.log(11), 0.7)))):
            yield bytes([draw.choice(b"abcdefghijklmnopqrstuvwxyz ./-")]), behaviour.keystroke(draw)
        yield b"\r", min(draw.expovariate(1 / 3), 12.0)


def _type(part: Part, send: Callable[[bytes], object], login: bool = False) -> None:
    for key, wait in _keys(part.draw, login):
        send(key)
        if not part.pause(wait):
            return


async def _type_async(part: Part, send: Callable[[bytes], object], login: bool = False) -> None:
    for key, wait in _keys(part.draw, login):
        send(key)
        if wait >= part.left():
            return
        await asyncio.sleep(wait)


def serve(part: Part) -> None:
    if part.activity in ("console", "mosh"):
        if part.server in ("openssh", "dropbear"):
            run_server(part, server_command(part.server, part), SSH)
        elif part.server == "asyncssh":
            asyncio.run(_serve_asyncssh(part))
        else:
            _serve_paramiko(part)
        return
    if part.server == "telnetlib3":
        asyncio.run(_serve_telnetlib3(part))
        return
    stunnel = part.server == "stunnel"
    address = part.loopback if stunnel else part.address
    listener = socket.create_server((address, TELNET))
    script = _script(part, login=True)
    threading.Thread(target=_accept, args=(listener, script), daemon=True).start()
    if not stunnel:
        part.ready()
        while True:
            time.sleep(1)
    config = part.scratch / "stunnel.conf"
    config.write_text(
        f"foreground = yes\npid =\nsyslog = no\n[telnets]\naccept = {part.address}:{TELNETS}\nconnect = "
        f"{address}:{TELNET}\ncert = {part.secrets}/cert.pem\nkey = {part.secrets}/key.pem\n"
    )
    run_server(part, ["stunnel4", str(config)], TELNETS)


def _accept(listener: socket.socket, script: str) -> None:
    """What inetd does: a telnetd for each connection."""
    while True:
        connection = listener.accept()[0]
        end = connection.fileno()
        subprocess.Popen(["telnetd", "-h", "-E", script], stdin=end, stdout=end, stderr=end)
        connection.close()


async def _serve_telnetlib3(part: Part) -> None:
    import telnetlib3

    # Both are those for bytes, as no encoding is asked for.
    async def shell(reader: Any, writer: Any) -> None:
        lines = _Lines(part.seed + 3, login=True)
        writer.write(lines.prompt())
        while data := await reader.read(1024):
            writer.write(lines.take(data))
            await writer.drain()

    options: dict[str, Any] = {}
    if part.activity == "telnet_tls":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        options["ssl"] = context
    await telnetlib3.create_server(
        part.address,
        TELNETS if options else TELNET,
        shell=shell,
        encoding=False,
        connect_maxwait=1.0,
        **options,
    )
    part.ready()
    await asyncio.Event().wait()


async def _serve_asyncssh(part: Part) -> None:
    import asyncssh

    async def shell(process: asyncssh.SSHServerProcess[str]) -> None:
        # Its own line editor echoes.
        draw = Random(part.seed + 3)
        process.stdout.write("lab$ ")
        async for _ in process.stdin:
            process.stdout.write(_answer(draw).decode() + "lab$ ")

    await asyncssh.listen(
        part.address,
        SSH,
        server_host_keys=[str(part.secrets / "host")],
        process_factory=shell,
        authorized_client_keys=str(part.secrets / "user.pub"),
    )
    part.ready()
    await asyncio.Event().wait()


def _serve_paramiko(part: Part) -> None:
    import paramiko

    class Everybody(paramiko.ServerInterface):  # type: ignore[misc]  # paramiko comes without types
        def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
            return int(paramiko.AUTH_SUCCESSFUL)

        def get_allowed_auths(self, username: str) -> str:
            return "publickey"

        def check_channel_request(self, kind: str, chanid: int) -> int:
            return int(paramiko.OPEN_SUCCEEDED)

        def check_channel_pty_request(self, *_: object) -> bool:
            return True

        def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
            threading.Thread(target=_shell_on, args=(channel, part.seed + 3), daemon=True).start()
            return True

        def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
            return self.check_channel_shell_request(channel)

    key = paramiko.Ed25519Key.from_private_key_file(str(part.secrets / "host"))
    listener = socket.create_server((part.address, SSH))
    part.ready()
    alive = []
    while True:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(key)
        with contextlib.suppress(EOFError, paramiko.SSHException):
            transport.start_server(server=Everybody())
        alive.append(transport)


def _shell_on(channel: paramiko.Channel, seed: int) -> None:
    lines = _Lines(seed, login=False)
    with contextlib.suppress(OSError):
        channel.sendall(lines.prompt())
        while data := channel.recv(1024):
            channel.sendall(lines.take(data))


def act(part: Part) -> None:
    name = part.client
    if part.activity == "mosh":
        ssh = " ".join(client_command("openssh", part, target=False))
        os.environ["LANG"] = "C.UTF-8"
        _on_terminal(
            part,
            [
                "mosh",
                "-4",
                "--experimental-remote-ip=local",
                f"--ssh={ssh}",
                f"root@{part.address}",
                "--",
                _script(part, login=False),
            ],
            b"",
        )
    elif part.activity == "console":
        if name == "asyncssh":
            asyncio.run(_by_asyncssh(part))
        elif name == "paramiko":
            _by_paramiko(part)
        else:
            _on_terminal(part, client_command(name, part, "-tt" if name == "openssh" else "-t"), b"\x04")
    elif name == "telnetlib3":
        asyncio.run(_by_telnetlib3(part))
    elif name == "telnet":
        _on_terminal(part, ["telnet", part.address, str(TELNET)], b"", login=True)
    else:
        _by_socket(part)


def _on_terminal(part: Part, command: list[str], last: bytes, login: bool = False) -> None:
    """The program in a terminal that is read, since programs that draw wait for it."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    program = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                said.extend(data[-300:])

    threading.Thread(target=read, daemon=True).start()
    while b"lab$" not in said and b"login:" not in said:
        if not part.pause(0.1) or program.poll() is not None:
            sys.exit(f"{command[0]} did not get to a prompt: {bytes(said[-200:])!r}")
    _type(part, lambda key: os.write(ours, key), login)
    if program.poll() is not None:
        sys.exit(f"{command[0]} ended before its time: {bytes(said[-200:])!r}")
    if last:
        os.write(ours, last)
    try:
        program.wait(0.7)
    except subprocess.TimeoutExpired:
        program.terminate()


async def _by_asyncssh(part: Part) -> None:
    import asyncssh

    own = part.server in ("openssh", "dropbear")
    async with asyncssh.connect(
        part.address,
        SSH,
        username="root",
        client_keys=[str(part.secrets / "user")],
        known_hosts=None,
        config=None,
        agent_path=None,
        x509_trusted_certs=None,
    ) as connection:
        process = await connection.create_process(
            _script(part, login=False) if own else None, term_type="xterm", encoding=None
        )

        async def read() -> None:
            while await process.stdout.read(65536):
                pass

        reading = asyncio.create_task(read())
        await _type_async(part, process.stdin.write)
        if reading.done():
            sys.exit("the shell ended before its time")
        process.close()


def _by_paramiko(part: Part) -> None:
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.MissingHostKeyPolicy())
    client.connect(
        part.address,
        SSH,
        "root",
        key_filename=str(part.secrets / "user"),
        allow_agent=False,
        look_for_keys=False,
        timeout=30,
        banner_timeout=30,
        auth_timeout=30,
    )
    channel = client.get_transport().open_session()
    channel.get_pty("xterm", 100, 30)
    if part.server in ("openssh", "dropbear"):
        channel.exec_command(_script(part, login=False))
    else:
        channel.invoke_shell()

    def read() -> None:
        with contextlib.suppress(OSError):
            while channel.recv(65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    _type(part, channel.sendall)
    client.close()


async def _by_telnetlib3(part: Part) -> None:
    import telnetlib3

    secure = part.activity == "telnet_tls"
    options: dict[str, Any] = {"ssl": ssl._create_unverified_context()} if secure else {}
    reader: Any
    # Both are those for bytes, as no encoding is asked for.
    writer: Any
    reader, writer = await telnetlib3.open_connection(
        part.address, TELNETS if secure else TELNET, encoding=False, connect_maxwait=1.0, **options
    )

    async def read() -> None:
        while await reader.read(65536):
            pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(1)
    await _type_async(part, writer.write, login=True)
    if reading.done():
        sys.exit("the shell ended before its time")
    reading.cancel()
    writer.close()


def _by_socket(part: Part) -> None:
    """A client that agrees to echo and to no other option, as PuTTY's passive mode does."""
    secure = part.activity == "telnet_tls"
    connection = socket.create_connection((part.address, TELNETS if secure else TELNET), 20)
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if secure:
        connection = ssl._create_unverified_context().wrap_socket(connection, server_hostname=part.name)

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := connection.recv(65536):
                reply = bytearray()
                for at in range(len(data) - 2):
                    if data[at] == 255 and data[at + 1] in (251, 253):
                        wanted = data[at + 2] in (1, 3)
                        reply += bytes(
                            (
                                255,
                                (253 if wanted else 254)
                                if data[at + 1] == 251
                                else (251 if data[at + 2] == 3 else 252),
                                data[at + 2],
                            )
                        )
                if reply:
                    connection.sendall(reply)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    time.sleep(1)
    _type(part, lambda key: connection.sendall(b"\r\0" if key == b"\r" else key), login=True)
    if not reading.is_alive():
        sys.exit("the shell ended before its time")
    connection.close()
