"""WireGuard in user space (wireguard-go), as phones and machines without the kernel's run it."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from ..activity import Tunnel
from ..inner import address_device, addresses, choices, device
from ..part import Part
from ..serving import running

TUNNELS = {"wireguard": Tunnel("WireGuard", ("wireguard-go",))}


def _keys(seed: bytes) -> tuple[str, str]:
    """Private and public, from the seed: both ends know both."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.from_private_bytes(seed)
    return base64.b64encode(key.private_bytes_raw()).decode(), base64.b64encode(
        key.public_key().public_bytes_raw()
    ).decode()


@contextlib.contextmanager
def _up(part: Part, serving: bool) -> Iterator[str]:
    draw = choices(part)
    # It binds every address of its host, so each needs a port of its own (beyond those that clients are given).
    high, low = (int(number) for number in part.address.split(".")[2:])
    port = 61_000 + (high * 250 + low) % 4_500
    mtu, keepalive, shared = draw.choice((1420, 1420, 1280)), draw.choice(("off", "25")), draw.random() < 0.3
    both, preshared = [_keys(draw.randbytes(32)) for _ in range(2)], base64.b64encode(draw.randbytes(32)).decode()
    inside = addresses(part)
    mine, theirs = (0, 1) if serving else (1, 0)
    # It is spoken to at /var/run/wireguard/NAME.sock, which all hosts share and a killed one leaves behind: here that
    # folder is one in the scratch directory.
    name, talk = device(part), part.scratch / "talk"
    talk.mkdir()
    os.makedirs("/var/run/wireguard", exist_ok=True)
    apart = [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount --bind "$0" /var/run/wireguard && exec "$@"',
        str(talk),
    ]
    (part.scratch / "private").write_text(both[mine][0])
    words = [
        "private-key",
        str(part.scratch / "private"),
        *(["listen-port", str(port)] if serving else []),
        "peer",
        both[theirs][1],
        "allowed-ips",
        f"{inside[theirs]}/32",
    ]
    if not serving:
        words += ["endpoint", f"{part.address}:{port}", "persistent-keepalive", keepalive]
    if shared:
        (part.scratch / "preshared").write_text(preshared)
        words += ["preshared-key", str(part.scratch / "preshared")]
    with running([*apart, "wireguard-go", "-f", name]) as process:
        end = time.monotonic() + 10
        while not (talk / f"{name}.sock").exists():
            if process.poll() is not None or time.monotonic() > end:
                sys.exit("wireguard-go did not come up")
            time.sleep(0.05)
        subprocess.run([*apart, "wg", "set", name, *words], check=True)
        address_device(name, inside[mine], inside[theirs], mtu)
        yield inside[0]


def serve(part: Part) -> contextlib.AbstractContextManager[str]:
    return _up(part, True)


def connect(part: Part) -> contextlib.AbstractContextManager[str]:
    return _up(part, False)
