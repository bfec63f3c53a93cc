"""Which version of each program was used."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version

_ASK = {
    "nginx": ["nginx", "-v"], "lighttpd": ["lighttpd", "-v"], "curl": ["curl", "-V"], "curl-h1": ["curl", "-V"],
    "dnsmasq": ["dnsmasq", "-v"], "unbound": ["unbound", "-V"], "dig": ["dig", "-v"], "mosquitto": ["mosquitto", "-h"],
    "openssh": ["ssh", "-V"], "sftp": ["ssh", "-V"], "dropbear": ["dropbear", "-V"], "dbclient": ["dbclient", "-V"],
    "rsync": ["rsync", "--version"], "redis": ["redis-server", "--version"], "redis-tls": ["redis-server", "--version"],
    "stunnel": ["stunnel4", "-version"],
}


def versions_of(names: set[str]) -> dict[str, str]:
    """Implementation -> version; what has none of its own is the lab's Python code."""
    found = {}
    for name in names:
        if name in _ASK:
            try:
                done = subprocess.run(_ASK[name], capture_output=True, text=True, timeout=10)
            except OSError:
                continue
            match = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
            found[name] = match[0] if match else ""
        elif name != "none":
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = f"python {platform.python_version()}"
    return found
