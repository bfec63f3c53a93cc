"""A network of a test's own: a namespace without a name, which goes with the test."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def missing() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    try:
        with own_network():
            made = subprocess.run(["ip", "link", "add", "one", "type", "veth"], capture_output=True, check=False)
    except OSError:
        return "network namespaces can't be made here"
    return "virtual Ethernet can't be made here" if made.returncode else ""


@contextmanager
def own_network() -> Iterator[None]:
    """Within it this thread, and what it starts, is in a network of its own, in which there is nothing but `lo`."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no network namespace")
        try:
            # The machine's own chatter would be among the packets.
            for which in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
            yield
        finally:
            libc.setns(before.fileno(), _CLONE_NEWNET)


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


def make_wire() -> None:
    """A cable: what goes into the interface ``wire`` comes out of ``seen``."""
    ip("link add wire mtu 9000 type veth peer name seen mtu 9000")
    for name in ("lo", "wire", "seen"):
        ip(f"link set {name} up")


def send(frames: list[bytes], interface: str = "wire") -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        for frame in frames:
            out.send(frame)
