"""The inside of a VPN: addresses and devices of its own, so that what runs in it is on no link but the VPN's."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random

from .part import Part


def addresses(part: Part) -> tuple[str, str]:
    """The server's and the client's address inside the tunnel."""
    return part.address.replace("10.77.", "10.78.", 1), part.address.replace("10.77.", "10.79.", 1)


def device(part: Part) -> str:
    """A name for the tunnel's device, of this activity alone (at most 15 characters)."""
    return "vpn" + "-".join(part.address.split(".")[2:])


def address_device(name: str, own: str, other: str, mtu: int) -> None:
    """Give a tunnel's device its address and set it up; its only route is to the other end."""
    for command in (
        ["addr", "add", own, "peer", f"{other}/32", "dev", name],
        ["link", "set", name, "mtu", str(mtu), "up"],
    ):
        subprocess.run(["ip", *command], check=True)


def make_device(part: Part, own: str, other: str, mtu: int) -> str:
    """A TUN device that stays while the programs behind it come and go, with its address from the beginning."""
    name = device(part)
    subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tun"], check=True)
    address_device(name, own, other, mtu)
    return name


def choices(part: Part) -> Random:
    """A generator for a tunnel's settings: the same on both sides, not the one of what runs inside."""
    return Random(f"{part.through} {part.seed}")


def wait_for_text(log: Path, text: str, patience: float = 25.0) -> None:
    """Wait until a program has written this into its log."""
    end = time.monotonic() + patience
    while not (log.exists() and text in log.read_text(errors="replace")):
        if time.monotonic() > end:
            lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            sys.exit(f"no {text!r} after {patience:g} s; {lines[-1] if lines else 'nothing said'}")
        time.sleep(0.05)
