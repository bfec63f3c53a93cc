"""Starting server programs inside a host, and knowing when they listen."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .part import Part


def wait_for_port(address: str, port: int, patience: float = 20.0) -> None:
    """Wait until something accepts connections there (asked from inside the same host, so it is on no link)."""
    end = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"nothing listens at {address}:{port} after {patience:g} s")
            time.sleep(0.05)


def wait_for_udp(address: str, port: int, patience: float = 20.0) -> None:
    """Wait until something has bound the UDP port there."""
    wanted = f"{int.from_bytes(socket.inet_aton(address), sys.byteorder):08X}:{port:04X}"
    end = time.monotonic() + patience
    while wanted not in Path("/proc/self/net/udp").read_text():
        if time.monotonic() > end:
            sys.exit(f"nothing listens at UDP {address}:{port} after {patience:g} s")
        time.sleep(0.05)


def free_port() -> int:
    """A port of the loopback device that nothing uses: for what stays inside the host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_to_others(folder: Path) -> None:
    """Let users other than root pass through a scratch folder, for programs that insist on not being root."""
    for place in (folder, folder.parent):
        place.chmod(place.stat().st_mode | 0o011)


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs beside what is inside the context, and is ended after it; `options` are Popen's."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
    )
    try:
        yield process
    finally:
        process.terminate()


def run_server(part: Part, command: list[str], port: int) -> None:
    """Run a server program until this process is ended."""
    with running(command) as process:
        wait_for_port(part.address, port)
        part.ready()
        process.wait()


def speaking_from(part: Part, command: list[str]) -> list[str]:
    """The command, such that what it sends from unbound sockets leaves from the part's address.

    Some programs bind media to 0.0.0.0, whose packets would leave from the host's first address. A route chosen by
    the user's number tells the kernel which source to take; the program keeps root's rights to files.
    """
    third, fourth = (int(word) for word in part.address.split(".")[2:])
    number = 20_000 + third * 256 + fourth
    device = json.loads(
        subprocess.run(["ip", "-j", "route", "get", "10.77.255.254"], capture_output=True, check=True).stdout
    )[0]["dev"]
    # Before the rules of an IPsec that another activity runs on these hosts.
    for words in (
        ["rule", "add", "priority", "100", "uidrange", f"{number}-{number}", "lookup", str(number)],
        ["route", "add", "10.77.0.0/16", "dev", device, "src", part.address, "table", str(number)],
    ):
        subprocess.run(["ip", *words], check=True)
    rights = "+dac_override,+dac_read_search"
    return [
        "setpriv",
        f"--reuid={number}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        *command,
    ]


def own_address(part: Part) -> str:
    """The client host's address towards the server."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((part.address, 9))
        return str(probe.getsockname()[0])
