"""Suricata on a live link in a network namespace, and traffic on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import sensor
from bed import Bed
from eve_program import wait_for
from places import ROOT

TRAFFIC = ROOT / "tests" / "sensor" / "traffic.py"
#: An alert for each flow, on its first payload.
RULES = 'alert tcp any any -> any any (msg:"payload"; dsize:>0; flowbits:isnotset,a; flowbits:set,a; sid:1;)\n'


def why_not() -> str:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "needs root and iproute2"
    name = f"mmttprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "network namespaces can't be made here" if made.returncode else ""


def stripped(data: bytes) -> bytes:
    return re.sub(rb',"mmtt":\{[^}]*\}', b"", data)


def suricata(bed: Bed, outputs: list[tuple[str, str]], name: str = "suricata") -> Path:
    """One that watches the link; its directory, once it does."""
    folder = bed.directory / name
    folder.mkdir(exist_ok=True)
    (folder / "rules").write_text(RULES)
    (folder / "stdout").unlink(missing_ok=True)
    bed.start(
        name, sensor.find(), "-c", sensor.config(folder, *outputs), "--af-packet=seen", "-l", folder,
        "-S", folder / "rules", "-k", "none", "--pidfile", folder / "pid",
    )  # fmt: skip
    wait_for(lambda: "Engine started" in (folder / "stdout").read_text(errors="replace"), 30)
    (folder / "pid").unlink(missing_ok=True)
    return folder


def traffic(bed: Bed, flows: int = 60, network: int = 1) -> None:
    bed.start("traffic", sys.executable, TRAFFIC, "wire", "--flows", flows, "--rate", 60, "--network", network)
    assert bed.running.pop("traffic").wait(60) == 0


def whole(path: Path) -> list[bytes]:
    """The lines of a file that are complete."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []
