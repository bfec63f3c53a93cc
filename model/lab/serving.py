"""Starting server programs inside a host, and knowing when they listen."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

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
