"""IPsec by strongSwan: IKEv2, then ESP in UDP, its packets handled in user space (kernel-libipsec) so that any kernel
does.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

from ..activity import Tunnel
from ..inner import addresses, choices
from ..part import Part

TUNNELS = {"ipsec": Tunnel("IPSec", ("strongswan",))}


@contextlib.contextmanager
def _charon(part: Part, serving: bool) -> Iterator[str]:
    draw, here = choices(part), part.scratch
    suite = draw.choice(
        (
            ("aes256-sha256-modp2048", "aes256gcm16"),
            ("aes128-sha256-ecp256", "aes128gcm16"),
            ("aes256-sha384-ecp384", "aes256-sha256"),
            ("chacha20poly1305-prfsha256-curve25519", "chacha20poly1305"),
        )
    )
    secret = f"{draw.getrandbits(128):x}"
    # It binds every address of its host, so each needs ports of its own (beyond those that clients are given).
    high, low = (int(number) for number in part.address.split(".")[2:])
    port = 61_000 + (high * 250 + low) % 4_500
    server, client = addresses(part)
    own, other = (server, client) if serving else (client, server)
    subprocess.run(["ip", "addr", "add", f"{own}/32", "dev", "lo"], check=True)
    plugins = (
        "random nonce openssl aes sha1 sha2 hmac kdf gmp gcm chapoly curve25519 xcbc kernel-libipsec kernel-netlink "
        "socket-default vici"
    )
    (here / "strongswan.conf").write_text(
        f"""charon {{
port = 0
port_nat_t = {port}
routing_table = 254
load = {plugins}
plugins {{ vici {{ socket = unix://{here}/vici }} }}
filelog {{ log {{ path = {here}/charon.log
flush_line = yes }} }}
}}
"""
    )
    ends = f"local_addrs = {part.address}" if serving else f"remote_addrs = {part.address}\nremote_port = {port}"
    (here / "swanctl.conf").write_text(
        f"""connections {{ lab {{
version = 2
mobike = no
proposals = {suite[0]}
{ends}
local_port = {port}
encap = yes
dpd_delay = 10s
local {{ auth = psk
id = {"server" if serving else "client"}.lab.test }}
remote {{ auth = psk
id = {"client" if serving else "server"}.lab.test }}
children {{ inner {{
local_ts = {own}/32
remote_ts = {other}/32
esp_proposals = {suite[1]} }} }}
}} }}
secrets {{ ike-lab {{ secret = {secret} }} }}
"""
    )
    environment = {**os.environ, "STRONGSWAN_CONF": str(here / "strongswan.conf")}
    # Its pid file has a fixed place: a /run of its own.
    charon = subprocess.Popen(
        [
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount -t tmpfs none /run && exec /usr/lib/ipsec/charon",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )

    def ask(*words: str) -> str:
        done = subprocess.run(
            ["swanctl", *words, "--uri", f"unix://{here}/vici"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or "refused"

    try:
        end = time.monotonic() + 15
        while not (here / "vici").exists():
            if charon.poll() is not None or time.monotonic() > end:
                sys.exit("charon did not come up")
            time.sleep(0.05)
        wrong = ask("--load-all", "--file", str(here / "swanctl.conf"))
        if not serving and not wrong:
            wrong = ask("--initiate", "--child", "inner", "--timeout", "25")
        if wrong:
            sys.exit(f"swanctl: {wrong.splitlines()[-1]}")
        yield server
    finally:
        charon.terminate()


def serve(part: Part) -> contextlib.AbstractContextManager[str]:
    return _charon(part, True)


def connect(part: Part) -> contextlib.AbstractContextManager[str]:
    return _charon(part, False)
