"""Which programs the machine has, and which versions (the table is programs.yaml)."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
from importlib import resources
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import yaml


@functools.cache
def programs() -> dict[str, dict[str, Any]]:
    """The table, by name."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(
        resources.files(__package__).joinpath("programs.yaml").read_text()
    )
    return table


def _there(what: str) -> bool:
    if what.startswith("python:"):
        return importlib.util.find_spec(what[7:]) is not None
    if what.startswith("/"):
        return Path(what).exists()
    return shutil.which(what, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def missing(names: set[str]) -> str:
    """What of these is not on this machine, with what to type, in one line; empty if all is there."""
    lacking = sorted({name for name in names & set(programs()) if not all(map(_there, programs()[name]["needs"]))})
    if not lacking:
        return ""
    together: dict[str, set[str]] = {}
    for name in lacking:
        match = re.fullmatch(r"(\S+ install) (.+)", programs()[name]["install"])
        assert match, f"programs.yaml: {name}: install"
        together.setdefault(match[1], set()).update(match[2].split())
    remedy = " && ".join(f"{command} {' '.join(sorted(what))}" for command, what in sorted(together.items()))
    return f"not on this machine: {', '.join(lacking)}; type: {remedy}"


def versions_of(names: set[str]) -> dict[str, str]:
    """Name -> version; what has none of its own is the lab's Python code."""
    found = {}
    for name in names:
        ask = programs().get(name, {}).get("version")
        if ask:
            try:
                done = subprocess.run(shlex.split(ask), capture_output=True, text=True, timeout=10, check=False)
            except OSError:
                continue
            match = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
            found[name] = match[0].rstrip(".") if match else ""
        elif name != "none":
            # A library may be called otherwise than the module it brings (paho, of paho-mqtt).
            modules = [need.removeprefix("python:") for need in programs().get(name, {}).get("needs", ())]
            try:
                found[name] = version(packages_distributions().get(modules[0], [name])[0] if modules else name)
            except PackageNotFoundError:
                found[name] = f"python {platform.python_version()}"
    return found
