"""Testing programs between the lab's hosts: nmap on services, slow HTTP by slowhttptest, DNS tunnels by iodine and
dns2tcp.

Nothing but the lab's addresses is asked; ports, connections and time are bounded, what goes through tunnels is random.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import IO

from .. import fronted
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..serving import running, wait_for_port
from ..workers import run_bounded
from . import ssh

_WEB = (fronted.PORT,)

ACTIVITIES = {
    "service_scan": Activity(
        "infrastructure",
        pairs(("python", "openssh", "dropbear"), ("nmap", "python")),
        malicious="service_scan",
        any_tunnel=False,
    ),
    "slow_headers": Activity(
        "web", pairs(fronted.SERVERS, ("slowhttptest", "python")), malicious="slow_headers", tcp_ports=_WEB
    ),
    "slow_body": Activity(
        "web", pairs(fronted.SERVERS, ("slowhttptest", "python")), malicious="slow_body", tcp_ports=_WEB
    ),
    "slow_read": Activity(
        "web", pairs(fronted.SERVERS, ("slowhttptest", "python")), malicious="slow_read", tcp_ports=_WEB
    ),
    "dns_tunnel_program": Activity(
        "infrastructure",
        ("iodine/iodine", "dns2tcp/dns2tcp"),
        application="DNS",
        tunnel="dns",
        malicious="dns_tunnel_program",
        any_tunnel=False,
    ),
}


def serve(part: Part) -> None:
    if part.activity == "dns_tunnel_program":
        (_iodined if part.server == "iodine" else _dns2tcpd)(part)
    elif part.activity == "service_scan":
        _services(part)
    else:
        fronted.serve(part)


def act(part: Part) -> None:
    check(part)
    {"service_scan": _scan, "dns_tunnel_program": _tunnel}.get(part.activity, _slow)(part)


# --- services, and who asks what they are ---

# Port -> greeting, and whether TLS comes first. None: it waits to be asked.
_GREETINGS = {
    21: b"220 lab FTP ready\r\n",
    25: b"220 lab.test ESMTP\r\n",
    80: None,
    110: b"+OK lab ready\r\n",
    143: b"* OK [CAPABILITY IMAP4rev1] lab ready\r\n",
    443: None,
    465: b"220 lab.test ESMTP\r\n",
    587: b"220 lab.test ESMTP\r\n",
    993: b"* OK [CAPABILITY IMAP4rev1] lab ready\r\n",
    995: b"+OK lab ready\r\n",
    3306: None,
    5432: None,
    6379: None,
    8080: None,
    8443: None,
}
_SECURE = {443, 465, 993, 995, 8443}


def _services(part: Part) -> None:
    """Ports that greet and answer as such services do to what they do not know; port 22 is a real SSH server or
    none.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")

    def talk(connection: socket.socket, port: int) -> None:
        with contextlib.suppress(OSError):
            connection.settimeout(8)
            if port in _SECURE:
                connection = context.wrap_socket(connection, server_side=True)
            greeting = _GREETINGS[port]
            if greeting:
                connection.sendall(greeting)
            for _ in range(8):
                asked = connection.recv(4096)
                if not asked:
                    break
                if greeting is None:
                    body = os.urandom(part.draw.randrange(200, 4000)).hex().encode()
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nServer: lab\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                        if b"HTTP" in asked
                        else b"-ERR unknown command\r\n"
                    )
                    if b"HTTP" in asked:
                        break
                else:
                    connection.sendall(
                        {43: b"-ERR Unknown command.\r\n"}.get(greeting[0], b"500 unknown command\r\n")
                        if port not in (143, 993)
                        else asked[:4].split(b" ")[0] + b" BAD unknown command\r\n"
                    )
        connection.close()

    listeners = {}
    for port in _GREETINGS:
        listener = socket.create_server((part.address, port), backlog=16)
        listeners[listener] = port
    with contextlib.ExitStack() as beside:
        if part.server != "python":
            beside.enter_context(running(ssh.server_command(part.server, part)))
            wait_for_port(part.address, ssh.PORT)
        part.ready()
        while True:
            for listener in select.select(list(listeners), (), ())[0]:
                connection, _ = listener.accept()
                threading.Thread(target=talk, args=(connection, listeners[listener]), daemon=True).start()


def _scan(part: Part) -> None:
    draw = part.draw
    if part.client == "python":
        _ask_services(part, draw)
        return
    ports = sorted(
        {
            *draw.sample(sorted(_GREETINGS), draw.randrange(6, 13)),
            22,
            443,
            *(draw.randrange(1, 10_000) for _ in range(20)),
        }
    )
    # Connect scan, versions, and the default scripts; no host discovery, no names.
    run_bounded(
        part,
        [
            "nmap",
            "--unprivileged",
            "-n",
            "-Pn",
            "-sT",
            "-sV",
            "--version-intensity",
            str(draw.choice((2, 5, 7))),
            *(
                ["--script", "default and safe and not broadcast", "--script-timeout", "6s"]
                if draw.random() < 0.7
                else []
            ),
            f"-T{draw.choice((3, 4))}",
            "--max-retries",
            "1",
            "--host-timeout",
            f"{int(part.seconds)}s",
            "-p",
            ",".join(map(str, ports)),
            part.address,
        ],
    )


def _ask_services(part: Part, draw: Random) -> None:
    """A scanner of the lab's own: greeting, certificate, a question or two at each open port."""
    ports = [*sorted(_GREETINGS), 22]
    draw.shuffle(ports)
    for port in ports * 2:
        with contextlib.suppress(OSError):
            connection = socket.create_connection((part.address, port), 4)
            if port in _SECURE:
                connection = ssl._create_unverified_context().wrap_socket(connection)
            connection.settimeout(0.7)
            for question in draw.sample(
                (
                    b"\r\n\r\n",
                    b"HELP\r\n",
                    b"GET / HTTP/1.0\r\n\r\n",
                    b"OPTIONS / HTTP/1.0\r\n\r\n",
                    b"EHLO lab\r\n",
                    b"a001 CAPABILITY\r\n",
                ),
                draw.randrange(1, 4),
            ):
                with contextlib.suppress(TimeoutError):
                    connection.recv(4096)
                connection.sendall(question)
            with contextlib.suppress(TimeoutError):
                while connection.recv(4096):
                    pass
            connection.close()
        if not part.pause(draw.expovariate(1 / 0.2)):
            return


# --- slow HTTP ---


def _slow(part: Part) -> None:
    """At most 15 connections, each a request that does not end, or an answer taken a few bytes at a time."""
    draw, seconds = part.draw, max(2, int(part.left()))
    connections, pace = draw.randrange(5, 16), draw.choice((1, 2, 3))
    if part.client == "slowhttptest":
        how = {
            "slow_headers": ["-H", "-x", "24"],
            "slow_body": ["-B", "-s", "8192", "-x", str(draw.choice((10, 40)))],
            "slow_read": ["-X", "-w", "512", "-y", "1024", "-n", str(pace), "-z", "32", "-k", "1"],
        }[part.activity]
        run_bounded(
            part,
            [
                "slowhttptest",
                *how,
                "-c",
                str(connections),
                "-r",
                "5",
                "-i",
                str(pace),
                "-l",
                str(seconds),
                "-v",
                "0",
                "-p",
                "10",
                "-u",
                f"https://{part.name}/200/{draw.randrange(40_000, 200_000)}/page",
            ],
        )
        return
    held, context = [], ssl._create_unverified_context()
    size = draw.randrange(40_000, 200_000)
    start = {
        "slow_headers": f"GET /200/{size}/page HTTP/1.1\r\nHost: lab\r\n",
        "slow_body": "POST /200/90/form HTTP/1.1\r\nHost: lab\r\nContent-Length: 8192\r\n\r\n",
        "slow_read": f"GET /200/{size}/page HTTP/1.1\r\nHost: lab\r\n\r\n",
    }[part.activity]
    for _ in range(connections):
        raw = socket.socket()
        if part.activity == "slow_read":
            # A small window, so that the server can't send ahead.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        raw.settimeout(20)
        raw.connect((part.address, fronted.PORT))
        connection = context.wrap_socket(raw)
        connection.sendall(start.encode())
        held.append(connection)
        if not part.pause(0.2):
            return
    while part.left() > 0:
        for connection in held:
            with contextlib.suppress(OSError):
                if part.activity == "slow_headers":
                    connection.sendall(b"X-%d: %d\r\n" % (draw.randrange(9999), draw.randrange(9999)))
                elif part.activity == "slow_body":
                    connection.sendall(b"&%x=%x" % (draw.randrange(1 << 16), draw.getrandbits(32)))
                else:
                    connection.recv(draw.randrange(200, 900))
        if not part.pause(draw.uniform(0.5, 1.5) * pace):
            return


# --- tunnels ---

_WORD = "lab-words-only"


def _inner(part: Part) -> str:
    """An address inside this step's tunnel alone, of a /29 that no other step and no host has."""
    third, fourth = (int(word) for word in part.address.split(".")[2:])
    return f"10.{100 + third % 100}.{fourth}.1"


def _device(part: Part) -> str:
    return "dns" + "-".join(part.address.split(".")[2:])


def _answers(listener: socket.socket) -> None:
    """Inside the tunnel: as many random bytes as are asked for."""

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := connection.recv(64):
                connection.sendall(os.urandom(min(int(line), 400_000)))

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def _iodined(part: Part) -> None:
    inner = _inner(part)
    command = [
        "iodined",
        "-f",
        "-c",
        "-l",
        part.address,
        "-d",
        _device(part),
        "-P",
        _WORD,
        "-m",
        "1130",
        f"{inner}/29",
        "t.lab.test",
    ]
    with running(command) as process:
        end = time.monotonic() + 10
        while not _has_device(_device(part)):
            if time.monotonic() > end or process.poll() is not None:
                sys.exit("iodined does not start")
            time.sleep(0.05)
        listener = socket.create_server((inner, 8080), backlog=8)
        part.ready()
        _answers(listener)


def _dns2tcpd(part: Part) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=8)
    config = part.scratch / "dns2tcpd.conf"
    config.write_text(
        f"listen = {part.address}\nport = 53\nuser = root\nchroot = {part.scratch}\ndomain = t.lab.test\n"
        f"key = {_WORD}\nresources = it:127.0.0.1:{listener.getsockname()[1]}\n"
    )
    with running(["dns2tcpd", "-F", "-i", part.address, "-f", str(config)]) as process:
        time.sleep(0.5)
        if process.poll() is not None:
            sys.exit("dns2tcpd does not start")
        part.ready()
        _answers(listener)


def _has_device(name: str) -> bool:
    """Whether the tunnel's end has its address: then it can be used."""
    return name in subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=False).stdout


def _tunnel(part: Part) -> None:
    """Fetches of random bytes through a tunnel, as a person or a program would use it."""
    draw = part.draw
    if part.client == "dns2tcp":
        command = [
            "dns2tcpc",
            "-z",
            "t.lab.test",
            "-k",
            _WORD,
            "-r",
            "it",
            "-l",
            "-",
            "-T",
            draw.choice(("TXT", "KEY")),
            part.address,
        ]
        while part.left() > 1:
            # A session for each connection carried.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert process.stdin and process.stdout, "both are pipes"
            _fetch(part, draw, partial(_write, process.stdin), partial(_read, part, process.stdout))
            process.terminate()
            process.wait()
            if not part.pause(draw.expovariate(1 / 1.5)):
                return
        return
    inner, device = _inner(part), _device(part)
    command = [
        "iodine",
        "-f",
        "-r",
        "-d",
        device,
        "-P",
        _WORD,
        "-T",
        draw.choice(("TXT", "NULL", "CNAME", "TXT")),
        "-m",
        "900",
        "-L",
        draw.choice("01"),
        "-I",
        "3",
        part.address,
        "t.lab.test",
    ]
    with running(command) as process:
        while not _has_device(device):
            if process.poll() is not None:
                sys.exit("iodine does not get a tunnel")
            if not part.pause(0.2):
                return
        while part.left() > 1:
            with contextlib.suppress(OSError), socket.create_connection((inner, 8080), 10) as connection:
                connection.settimeout(max(0.5, part.left()))
                _fetch(part, draw, connection.sendall, partial(connection.recv, 4096))
            if not part.pause(draw.expovariate(1 / 1.5)):
                return


def _fetch(part: Part, draw: Random, send: Callable[[bytes], object], receive: Callable[[], bytes]) -> None:
    for _ in range(draw.randrange(1, 6)):
        size = int(min(draw.lognormvariate(8, 1.5), 60_000))
        send(str(size).encode())
        while size > 0 and (got := receive()):
            size -= len(got)
        if not part.pause(draw.expovariate(1 / 0.7)):
            return


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.flush()


def _read(part: Part, file: IO[bytes]) -> bytes:
    """What is there; nothing where the part's time ends before."""
    ready = select.select([file], (), (), max(0.1, part.left()))[0]
    return os.read(file.fileno(), 4096) if ready else b""
