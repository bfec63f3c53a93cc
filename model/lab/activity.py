"""What an activity and a tunnel say of themselves: labels and implementations, without the programs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True)
class Activity:
    """`implementations`: "server/client", each a name in programs.yaml. `malicious`: the kind, or "".

    `tcp_ports`: where its servers listen, if TCP alone carries it to ports known beforehand: then a port-forwarding
    tunnel can carry it. `any_tunnel`: nothing but the server's address matters to it, so that a VPN can.
    """

    service: str
    implementations: tuple[str, ...]
    application: str = ""
    tunnel: str = ""
    inner_service: str = ""
    malicious: str = ""
    tcp_ports: tuple[int, ...] = ()
    any_tunnel: bool = True
    module: str = ""


@dataclass(frozen=True)
class Tunnel:
    """`ports_only`: it carries TCP connections to known ports (a forwarder), not packets. `programs`: in
    programs.yaml.
    """

    application: str
    programs: tuple[str, ...]
    ports_only: bool = False
    module: str = ""


def pairs(servers: tuple[str, ...], clients: tuple[str, ...]) -> tuple[str, ...]:
    """Every server with every client, servers turning fastest."""
    return tuple(f"{server}/{client}" for client in clients for server in servers)


_Entry = TypeVar("_Entry", Activity, Tunnel)


def collect(package: str, path: Iterable[str], table: str, kind: type[_Entry]) -> dict[str, _Entry]:
    """The tables called `table` of all modules of a package, as one; their entries, of a `kind`, know their module."""
    found: dict[str, _Entry] = {}
    for name in sorted(entry.name for entry in pkgutil.iter_modules(path)):
        module = importlib.import_module(f"{package}.{name}")
        for key, entry in getattr(module, table).items():
            if key in found:
                raise ValueError(f"{key} is in {found[key].module} and in {module.__name__}")
            found[key] = replace(entry, module=module.__name__)
    return found
