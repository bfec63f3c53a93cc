"""Unbound as the lab's DNS server: it knows one zone, and asks nobody."""

from __future__ import annotations

from .part import Part


def unbound(part: Part, listening: list[str], data: list[str]) -> list[str]:
    """The command that runs it; `listening` and `data` are lines of its configuration's server section."""
    config = part.scratch / "unbound.conf"
    lines = [
        *listening,
        "access-control: 10.77.0.0/16 allow",
        "access-control: 127.0.0.0/8 allow",
        'username: ""',
        'chroot: ""',
        f'directory: "{part.scratch}"',
        f'pidfile: "{part.scratch}/pid"',
        "use-syslog: no",
        "do-daemonize: no",
        "num-threads: 1",
        'module-config: "iterator"',
        *data,
    ]
    config.write_text("server:\n" + "".join(f" {line}\n" for line in lines) + "remote-control:\n control-enable: no\n")
    return ["unbound", "-d", "-c", str(config)]


def secure(part: Part, port: int, kind: str) -> list[str]:
    """Lines by which it listens with TLS; `kind` is tls-port or https-port."""
    return [
        f"interface: {part.address}@{port}",
        f"{kind}: {port}",
        f'tls-service-key: "{part.secrets}/key.pem"',
        f'tls-service-pem: "{part.secrets}/cert.pem"',
    ]
