"""Names looked up at the lab's own resolver: a person's look-ups, and the shapes of DNS beacons and tunnels."""

from __future__ import annotations

import random
import socket
import struct
import subprocess
import sys
import time

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..unbound import unbound

PORT, ZONE = 53, "lab.test"
_A, _TXT = 1, 16

_BOTH = pairs(("dnsmasq", "unbound"), ("dig", "python"))

ACTIVITIES = {
    "dns": Activity("infrastructure", _BOTH, application="DNS"),
    "beacon_dns": Activity("infrastructure", _BOTH, application="DNS", malicious="beacon_dns"),
    "dns_tunnel": Activity("infrastructure", _BOTH, application="DNS", tunnel="dns", malicious="dns_tunnel"),
}


def serve(part: Part) -> None:
    draw = part.draw
    text = " ".join(f'"{draw.getrandbits(400):0100x}"' for _ in range(2))
    if part.server == "dnsmasq":
        command = [
            "dnsmasq",
            "-k",
            "-C",
            "/dev/null",
            "-z",
            "-a",
            part.address,
            "-p",
            str(PORT),
            "-R",
            "-h",
            "-u",
            "root",
            f"--address=/{ZONE}/192.0.2.7",
            f"--local=/{ZONE}/",
            "-x",
            str(part.scratch / "pid"),
            "--log-facility=" + str(part.scratch / "log"),
        ]
    else:
        command = unbound(
            part,
            [f"interface: {part.address}"],
            [
                f'local-zone: "{ZONE}." redirect',
                f'local-data: "{ZONE}. 60 IN A 192.0.2.7"',
                f"local-data: '{ZONE}. 60 IN TXT {text}'",
            ],
        )
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not _ask(part.address, f"ready.{ZONE}", _A, 0.3):
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"{part.server} does not answer at {part.address}:{PORT}")
        part.ready()
        process.wait()
    finally:
        process.terminate()


def _query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (
        struct.pack(">HHHHHH", random.getrandbits(16), 0x0100, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack(">HH", kind, 1)
    )


def _ask(address: str, name: str, kind: int, patience: float = 3.0, over: socket.socket | None = None) -> bool:
    connection = over or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        connection.settimeout(patience)
        connection.sendto(_query(name, kind), (address, PORT))
        return bool(connection.recv(4096))
    except OSError:
        return False
    finally:
        if over is None:
            connection.close()


def act(part: Part) -> None:
    draw = part.draw
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    # A resolver's look-ups come from one port for a while; with a port of its own each is a connection of two packets.
    port = draw.randrange(20_000, 60_000)

    def ask(name: str, kind: int, same_port: bool) -> None:
        if part.client == "dig":
            subprocess.run(
                [
                    "dig",
                    "-b",
                    f"0.0.0.0#{port}",
                    "+time=2",
                    "+tries=2",
                    f"@{part.address}",
                    name,
                    "TXT" if kind == _TXT else "A",
                ],
                stdout=subprocess.DEVNULL,
                check=False,
            )
        else:
            _ask(part.address, name, kind, over=held if same_port else None)

    def random_name(length: int) -> str:
        text = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(length))
        return ".".join(text[at : at + 60] for at in range(0, length, 60)) + "." + ZONE

    if part.activity == "dns":
        while True:
            # A page asks for several names at once.
            for _ in range(1 + int(draw.expovariate(1 / 3))):
                ask(f"host{draw.randrange(500)}.{ZONE}", _A, True)
            if not part.pause(min(behaviour.think(draw), 8.0)):
                return
    if part.activity == "beacon_dns":
        interval = draw.choice((1, 2, 4))
        for _ in range(400):
            ask(random_name(draw.randrange(12, 30)), _A, True)
            if not part.pause(behaviour.beacon(interval, 0.2, draw)):
                return
    for _ in range(1500):  # dns_tunnel
        ask(random_name(draw.randrange(60, 170)), _TXT, True)
        if not part.pause(draw.expovariate(1 / 0.12)):
            return
