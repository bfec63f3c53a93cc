"""Proxies, in the clear and over TLS: SOCKS5 (microsocks, Dante, OpenSSH's -D) and HTTP CONNECT (tinyproxy, Squid)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator

from ..activities.ssh import PORT as SSH_PORT
from ..activities.ssh import client_command, server_command
from ..activity import Tunnel
from ..forward import Streams, forwarding
from ..inner import choices
from ..part import Part
from ..serving import free_port, running, wait_for_port

_SOCKS, _HTTP = ("microsocks", "dante"), ("tinyproxy", "squid")

TUNNELS = {
    "socks": Tunnel("SOCKS", _SOCKS, ports_only=True),
    "socks_tls": Tunnel("", (*_SOCKS, "stunnel", "hitch"), ports_only=True),
    "http_connect": Tunnel("", _HTTP, ports_only=True),
    "http_connect_tls": Tunnel("", (*_HTTP, "stunnel", "hitch"), ports_only=True),
    "ssh_socks": Tunnel("SSH", ("openssh", "dropbear"), ports_only=True),
}


def _settings(part: Part) -> tuple[str, int, str, bool]:
    """Program, port, TLS front, whether it asks for a name."""
    draw = choices(part)
    tls = part.through.endswith("_tls")
    if part.through == "ssh_socks":
        return draw.choice(("openssh", "dropbear")), SSH_PORT, "", False
    socks = part.through.startswith("socks")
    program = draw.choice(_SOCKS if socks else _HTTP)
    port = draw.choice((443, 443, 8443)) if tls else draw.choice((1080, 1080, 9050) if socks else (3128, 8080, 8888))
    return (
        program,
        port,
        draw.choice(("stunnel", "hitch")) if tls else "",
        draw.random() < 0.4 and program in ("microsocks", "tinyproxy"),
    )


def _proxy_command(part: Part, program: str, address: str, port: int, named: bool) -> list[str]:
    here = part.scratch
    config = here / f"{program}.conf"
    if program == "microsocks":
        return ["microsocks", "-i", address, "-p", str(port), *(["-u", "ann", "-P", "not-secret"] if named else [])]
    if program == "dante":
        config.write_text(
            f"""logoutput: {here}/dante.log
internal: {address} port = {port}
external: {part.loopback}
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: root
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
        )
        return ["danted", "-f", str(config), "-p", str(here / "dante.pid"), "-N", "1"]
    if program == "tinyproxy":
        config.write_text(
            f'Listen {address}\nPort {port}\nLogFile "{here}/tinyproxy.log"\nPidFile "{here}/tinyproxy.pid"\n'
            + ("BasicAuth ann not-secret\n" if named else "")
        )
        return ["tinyproxy", "-d", "-c", str(config)]
    config.write_text(
        f"""http_port {address}:{port}
pid_filename none
cache deny all
cache_mem 0 MB
access_log none
cache_log /dev/null
coredump_dir /
netdb_filename none
pinger_enable off
dns_nameservers 127.0.0.1
icp_port 0
htcp_port 0
http_access allow all
shutdown_lifetime 0 seconds
"""
    )
    # Squid drops root to a user that may not see the scratch folder; its shared memory goes by the name.
    return ["squid", "-N", "-n", f"lab{part.seed}", "-f", str(config)]


def _front_command(part: Part, front: str, port: int, behind: int) -> list[str]:
    config = part.scratch / f"{front}.conf"
    if front == "stunnel":
        config.write_text(
            f"foreground = yes\npid =\nsyslog = no\n[tunnel]\naccept = {part.address}:{port}\n"
            f"connect = 127.0.0.1:{behind}\ncert = {part.secrets}/cert.pem\nkey = {part.secrets}/key.pem\n"
        )
        return ["stunnel4", str(config)]
    both = part.scratch / "both.pem"
    both.write_bytes((part.secrets / "key.pem").read_bytes() + (part.secrets / "cert.pem").read_bytes())
    config.write_text(
        f'frontend = {{ host = "{part.address}"\nport = "{port}" }}\nbackend = "[127.0.0.1]:{behind}"\n'
        f'pem-file = "{both}"\nworkers = 1\nsyslog = off\nuser = "nobody"\n'
    )
    return ["hitch", f"--config={config}"]


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    program, port, front, named = _settings(part)
    with contextlib.ExitStack() as stack:
        if part.through == "ssh_socks":
            stack.enter_context(running(server_command(program, part)))
        elif front:
            behind = free_port()
            stack.enter_context(running(_proxy_command(part, program, "127.0.0.1", behind, named)))
            wait_for_port("127.0.0.1", behind)
            stack.enter_context(running(_front_command(part, front, port, behind)))
        else:
            stack.enter_context(running(_proxy_command(part, program, part.address, port, named)))
        wait_for_port(part.address, port)
        yield part.loopback


async def socks(ends: Streams, target: str, port: int, named: bool = False) -> None:
    reader, writer = ends
    writer.write(b"\x05\x01\x02" if named else b"\x05\x01\x00")
    await reader.readexactly(2)
    if named:
        writer.write(b"\x01\x03ann\x0anot-secret")
        await reader.readexactly(2)
    writer.write(b"\x05\x01\x00\x01" + socket.inet_aton(target) + struct.pack(">H", port))
    if (await reader.readexactly(10))[1]:
        raise OSError("refused by the proxy")


async def _connect(ends: Streams, target: str, port: int, named: bool, agent: str) -> None:
    reader, writer = ends
    lines = [
        f"CONNECT {target}:{port} HTTP/1.1",
        f"Host: {target}:{port}",
        "Proxy-Connection: keep-alive",
        f"User-Agent: {agent}",
    ]
    if named:
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(b"ann:not-secret").decode())
    writer.write("\r\n".join((*lines, "", "")).encode())
    if b" 200" not in (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0]:
        raise OSError("refused by the proxy")


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    _, port, front, named = _settings(part)
    agent = choices(part).choice(
        (
            "curl/8.5.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
        )
    )
    context = ssl._create_unverified_context() if front else None
    at = part.address
    with contextlib.ExitStack() as stack:
        if part.through == "ssh_socks":
            at, port = "127.0.0.1", free_port()
            stack.enter_context(running(client_command("openssh", part, "-N", f"-D127.0.0.1:{port}")))
            wait_for_port(at, port, 25)

        async def dial(target: int) -> Streams:
            ends = await asyncio.open_connection(at, port, ssl=context)
            if "socks" in part.through:
                await socks(ends, part.loopback, target, named)
            else:
                await _connect(ends, part.loopback, target, named, agent)
            return ends

        yield stack.enter_context(forwarding(part, dial))
