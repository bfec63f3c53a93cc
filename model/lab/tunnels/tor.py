"""A Tor network of the lab's own: three relays on the server's host, who are its authorities too, and a client."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..activity import Tunnel
from ..forward import Streams, forwarding
from ..inner import choices, wait_for_text
from ..part import Part
from ..serving import free_port, running
from .proxy import socks

TUNNELS = {"tor": Tunnel("Tor", ("tor",), ports_only=True)}
_RELAYS = 3


def _relay(part: Part, number: int, port: int) -> tuple[Path, str]:
    """Make a relay's keys; its folder and the line that tells the others of it."""
    home = part.scratch / f"relay{number}"
    keys = home / "keys"
    keys.mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    subprocess.run(
        [
            "tor-gencert",
            "--create-identity-key",
            "--passphrase-fd",
            "0",
            "-m",
            "2",
            "-a",
            f"{part.address}:{port + 1}",
            "-i",
            str(keys / "authority_identity_key"),
            "-s",
            str(keys / "authority_signing_key"),
            "-c",
            str(keys / "authority_certificate"),
        ],
        input=b"lab\n",
        check=True,
        stderr=subprocess.DEVNULL,
    )
    identity = re.search(r"^fingerprint (\w+)", (keys / "authority_certificate").read_text(), re.M)
    assert identity, "tor-gencert writes one into each certificate"
    told = subprocess.run(
        [
            "tor",
            "-f",
            "/nonexistent",
            "--ignore-missing-torrc",
            "--quiet",
            "--list-fingerprint",
            "--orport",
            "1",
            "--datadirectory",
            str(home),
            "--nickname",
            f"lab{number}",
            "--dirauthority",
            "lab 127.0.0.1:1 " + "f" * 40,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    digest = told.stdout.strip().splitlines()[-1].split(None, 1)[1].replace(" ", "")
    return (
        home,
        f"DirAuthority lab{number} orport={port} no-v2 v3ident={identity[1]} {part.address}:{port + 1} {digest}",
    )


def _agreed(consensus: Path) -> bool:
    """Whether a consensus has all relays: the first may lack some, and then a client has no path."""
    return consensus.exists() and consensus.read_text(errors="replace").count("\nr lab") == _RELAYS


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    # Relays are at 9001 and at 443; which of them a client enters by is its own choice.
    or_ports = [choices(part).choice((443, 9001)), 9011, 9021]
    with ThreadPoolExecutor(_RELAYS) as pool:
        made = list(pool.map(lambda number: _relay(part, number, or_ports[number]), range(_RELAYS)))
    everyone = "\n".join(line for _, line in made)
    (part.scratch / "authorities").write_text(everyone)
    # They vote 4 s before each multiple of 10 s, and whoever is to be voted for must have told the others of itself by
    # then.
    before = (6 - time.time()) % 10
    time.sleep(before + 0.1 if before < 6 else 0)
    with contextlib.ExitStack() as stack:
        for (home, _), number, port in zip(made, range(_RELAYS), or_ports, strict=True):
            (home / "torrc").write_text(
                f"""TestingTorNetwork 1
{everyone}
DataDirectory {home}
Nickname lab{number}
Address {part.address}
ContactInfo lab@lab.test
ORPort {part.address}:{port}
DirPort {part.address}:{port + 1}
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
AssumeReachable 1
SocksPort 0
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
TestingV3AuthInitialVotingInterval 10
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 20
V3AuthVoteDelay 2
V3AuthDistDelay 2
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
Log notice file {home}/log
"""
            )
            stack.enter_context(running(["tor", "-f", str(home / "torrc"), "--quiet"]))
        end = time.monotonic() + 26
        while not all(_agreed(home / "cached-microdesc-consensus") for home, _ in made):
            if time.monotonic() > end:
                sys.exit("the relays did not agree on a consensus")
            time.sleep(0.1)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    given = part.scratch.with_name(part.scratch.name.replace("-act", "-serve")) / "authorities"
    port, home = free_port(), part.scratch / "tor"
    home.mkdir(mode=0o700)
    (home / "torrc").write_text(
        f"""TestingTorNetwork 1
{given.read_text()}
DataDirectory {home}
SocksPort 127.0.0.1:{port}
Log notice file {home}/log
"""
    )
    with running(["tor", "-f", str(home / "torrc"), "--quiet"]):
        wait_for_text(home / "log", "Bootstrapped 100%")

        async def dial(target: int) -> Streams:
            ends = await asyncio.open_connection("127.0.0.1", port)
            await socks(ends, part.loopback, target)
            return ends

        with forwarding(part, dial) as address:
            yield address
