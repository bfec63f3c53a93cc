"""TCP ports forwarded over SSH (`ssh -L`), by OpenSSH and by Dropbear."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..activities import ACTIVITIES
from ..activities.ssh import PORT, client_command, server_command
from ..activity import Tunnel
from ..part import Part
from ..serving import running, wait_for_port

TUNNELS = {
    "ssh": Tunnel("SSH", ("openssh",), ports_only=True),
    "ssh_dropbear": Tunnel("SSH", ("dropbear", "dbclient"), ports_only=True),
}


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    with running(server_command({"ssh": "openssh", "ssh_dropbear": "dropbear"}[part.through], part)):
        wait_for_port(part.address, PORT)
        yield part.loopback


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    ports = ACTIVITIES[part.activity].tcp_ports
    forwards = [f"-L{part.loopback}:{port}:{part.loopback}:{port}" for port in ports]
    client = {"ssh": "openssh", "ssh_dropbear": "dbclient"}[part.through]
    with running(client_command(client, part, "-N", *forwards)):
        for port in ports:
            wait_for_port(part.loopback, port, 25)
        yield part.loopback
