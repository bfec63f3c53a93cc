"""Starting server programs inside a host, and knowing when they listen."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .part import Part


def wait_for_port(address: str, port: int, patience: float = 10.0) -> None:
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


def free_port() -> int:
    """A port of the loopback device that nothing uses: for what stays inside the host."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_to_others(folder: Path) -> None:
    """Let users other than root pass through a scratch folder, for programs that insist on not being root."""
    for place in (folder, folder.parent):
        place.chmod(place.stat().st_mode | 0o011)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen]:
    """A program that runs beside what is inside the context, and is ended after it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
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
