"""A network namespace of its own for a test, whose only way out leads to a recorder.

    run([…program…]) -> Heard

The program runs with a loopback, and with a default route into nothing: a name that it looks up gets an address there,
so that what it would do next is seen too. Every packet is recorded. As a program this is what runs in the namespace.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

#: What every name means there: a documentation address (RFC 5737).
ELSEWHERE = "192.0.2.77"
_UNSHARE = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]


@functools.cache
def impossible() -> str | None:
    """Why there can be no such namespace here; None where there can be."""
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            return f"no {program} here"
    with tempfile.TemporaryDirectory() as scratch:
        done = _start([Path(scratch) / "heard.json", "true"])
    return f"no network namespace can be made here: {done.stdout.strip()[-200:]}" if done.returncode else None


@dataclass(frozen=True)
class Heard:
    """What came of a program.

    Attributes:
        names: what it asked a name server for.
        contacts: (protocol, address, port) of the other packets' destinations that no server in the namespace has.
    """

    status: int
    output: str
    names: list[str]
    contacts: list[tuple[str, str, int]]


def run(command: list, scratch: Path, timeout: float = 120, **environment: str) -> Heard:
    """Run a program there to its end. ``environment`` is added to this one's."""
    record = scratch / "heard.json"
    done = _start([record, *command], timeout=timeout, env=os.environ | environment)
    assert record.exists(), done.stdout
    found = json.loads(record.read_text())
    return Heard(done.returncode, done.stdout, found["names"], [tuple(each) for each in found["contacts"]])


def _start(arguments: list, **options) -> subprocess.CompletedProcess:
    """This file as a program in a namespace."""
    return subprocess.run(
        [*_UNSHARE, sys.executable, __file__, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, **options,
    )  # fmt: skip


def _prepare(scratch: Path) -> None:
    resolver = scratch / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for line in (
        "ip link set lo up",
        "ip link add outside type veth peer name nowhere",
        "ip addr add 198.51.100.2/24 dev outside",
        "ip link set outside up",
        "ip link set nowhere up",
        "ip neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev outside",
        "ip route add default via 198.51.100.1",
        f"mount --bind {resolver} /etc/resolv.conf",
    ):
        subprocess.run(line.split(), check=True)


def _name(question: bytes) -> str:
    """The name that a DNS message asks for."""
    at, words = 12, []
    while at < len(question) and question[at]:
        words.append(question[at + 1 : at + 1 + question[at]].decode(errors="replace"))
        at += 1 + question[at]
    return ".".join(words)


def _answer_names(server: socket.socket, asked: list[str]) -> None:
    """Every name has one IPv4 address and none of IPv6."""
    while True:
        question, client = server.recvfrom(4096)
        asked.append(_name(question))
        end = question.index(b"\0", 12) + 5
        v4 = question[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(ELSEWHERE)
        head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, int(v4), 0, 0)
        server.sendto(head + question[12:end] + (record if v4 else b""), client)


def _record(tap: socket.socket, contacts: set[tuple[str, str, int]]) -> None:
    """Destinations outside of the namespace, but for what the kernel itself sends to find neighbours."""
    while True:
        frame, (interface, kind, *_) = tap.recvfrom(65535)
        if interface == "lo":
            continue
        if kind == 0x0800:
            protocol, to, body = frame[23], ipaddress.ip_address(frame[30:34]), frame[14 + (frame[14] & 15) * 4 :]
        elif kind == 0x86DD:
            protocol, to, body = frame[20], ipaddress.ip_address(frame[38:54]), frame[54:]
        else:
            continue
        if protocol in (6, 17):
            contacts.add(("tcp" if protocol == 6 else "udp", str(to), int.from_bytes(body[2:4], "big")))
        elif not to.is_multicast and protocol not in (0, 58):
            contacts.add((f"IP protocol {protocol}", str(to), 0))


def _inside(record: Path, command: list[str]) -> int:
    _prepare(record.parent)
    asked: list[str] = []
    contacts: set[tuple[str, str, int]] = set()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    for target, *arguments in ((_answer_names, server, asked), (_record, tap, contacts)):
        threading.Thread(target=target, args=arguments, daemon=True).start()
    status = subprocess.run(command, check=False).returncode
    record.write_text(json.dumps({"names": asked, "contacts": sorted(contacts)}))
    return status


if __name__ == "__main__":
    sys.exit(_inside(Path(sys.argv[1]), sys.argv[2:]))
