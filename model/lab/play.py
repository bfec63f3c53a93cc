"""What runs inside a host: one side of one activity, as a fork of the runner (imports are paid once, not per
activity).
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from random import Random

from .activities import ACTIVITIES
from .part import Part
from .tunnels import TUNNELS

_NEW_MOUNTS, _BIND, _PRIVATE = 0x20000, 4096, 0x4000 | 1 << 18


def play(role: str, part: Part) -> None:
    """`role`: "serve" or "act"."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    module = importlib.import_module(ACTIVITIES[part.activity].module)
    around = nullcontext(part.address)
    if part.through:
        tunnel = importlib.import_module(TUNNELS[part.through].module)
        around = (tunnel.serve if role == "serve" else tunnel.connect)(part)
    with around as address:
        name = address if role == "serve" else name_of(Random(f"name {part.seed}"))
        if role == "act":
            answer_to(part.scratch, name, address)
        getattr(module, role)(replace(part, address=address, name=name))


def name_of(draw: Random) -> str:
    """A server's name, as long as such names are: in life it is in the first packet of a TLS connection, and most of
    its size.
    """
    before = draw.choice(
        (
            "",
            "",
            "www.",
            "api.",
            "cdn.",
            "static-3.",
            "edge-eu-west-12.",
            f"r{draw.randrange(1, 9)}---sn-{draw.getrandbits(40):x}.",
        )
    )
    word = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randrange(4, 15)))
    return f"{before}{word}{draw.choice(('.test', '.lab.test', '.example.test', '.network.test'))}"


def answer_to(folder: Path, name: str, address: str) -> None:
    """Let `name` stand for `address` in this process and its children, and for nobody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{address} {name}\n")
    # A mount of its own over the machine's file, and private, so that it is seen here alone and goes with the process.
    for done in (
        libc.unshare(_NEW_MOUNTS),
        libc.mount(b"none", b"/", None, _PRIVATE, None),
        libc.mount(str(hosts).encode(), b"/etc/hosts", None, _BIND, None),
    ):
        if done:
            raise OSError(ctypes.get_errno(), "the server's name can't be made known: mount")
