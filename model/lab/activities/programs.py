"""Starting server programs inside a host, and knowing when they listen."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

from ..play import Part


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


def run_server(part: Part, command: list[str], port: int) -> None:
    """Run a server program until this process is ended."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(part.address, port)
        part.ready()
        process.wait()
    finally:
        process.terminate()
