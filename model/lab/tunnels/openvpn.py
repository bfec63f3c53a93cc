"""OpenVPN over UDP and over TCP, between two hosts as between an office and a home: TLS, then packets of any kind."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from pathlib import Path

from ..activity import Tunnel
from ..inner import addresses, choices, make_device, wait_for_text
from ..part import Part
from ..serving import running

TUNNELS = {
    "openvpn_udp": Tunnel("OpenVPN", ("openvpn",)),
    "openvpn_tcp": Tunnel("OpenVPN", ("openvpn",)),
}


def _command(part: Part, serving: bool) -> list[str]:
    """Settings as people have them: cipher, port, how the handshake is hidden, pushed settings or not, compression
    no.
    """
    draw = choices(part)
    cipher = draw.choice(("AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305", "AES-256-CBC"))
    tcp = part.through == "openvpn_tcp"
    port = draw.choice((1194, 443) if tcp else (1194, 1194, 443, 53))
    hidden, pushing = draw.choice(("", "tls-auth", "tls-crypt")), draw.random() < 0.6
    mtu = draw.choice((1500, 1500, 1400))
    server, client = addresses(part)
    own, other = (server, client) if serving else (client, server)
    name = make_device(part, own, other, mtu)
    words = [
        "openvpn",
        "--dev",
        name,
        "--dev-type",
        "tun",
        "--ifconfig-noexec",
        "--route-noexec",
        "--topology",
        "p2p",
        "--proto",
        ("tcp-server" if serving else "tcp-client") if tcp else "udp",
        "--tun-mtu",
        str(mtu),
        "--ca",
        f"{part.secrets}/ca.pem",
        "--cert",
        f"{part.secrets}/cert.pem",
        "--key",
        f"{part.secrets}/key.pem",
        "--data-ciphers",
        cipher,
        "--data-ciphers-fallback",
        cipher,
        "--auth",
        "SHA256",
        "--verb",
        "3",
        "--log",
        str(_said(part)),
        "--connect-retry",
        "1",
    ]
    if hidden:
        key = draw.randbytes(256).hex()
        file = part.scratch / "static.key"
        file.write_text(
            "-----BEGIN OpenVPN Static key V1-----\n"
            + "\n".join(key[at : at + 32] for at in range(0, 512, 32))
            + "\n-----END OpenVPN Static key V1-----\n"
        )
        words += (
            ["--tls-auth", str(file), "0" if serving else "1"] if hidden == "tls-auth" else ["--tls-crypt", str(file)]
        )
    if serving:
        words += [
            "--local",
            part.address,
            "--lport",
            str(port),
            "--tls-server",
            "--dh",
            "none",
            "--ifconfig",
            own,
            other,
        ]
        if pushing:
            # A pool of fewer than two is refused; the client gets the first.
            beyond = str(ipaddress.IPv4Address(other) + 1)
            words += ["--mode", "server", "--ifconfig-pool", other, beyond, "--keepalive", "10", "60"]
    else:
        words += ["--remote", part.address, str(port), "--nobind", "--tls-client"]
        words += ["--pull"] if pushing else ["--ifconfig", own, other]
    return words if pushing else [*words, "--ping", "10", "--ping-restart", "60"]


def _said(part: Part) -> Path:
    return part.scratch / "openvpn.log"


@contextlib.contextmanager
def serve(part: Part) -> Iterator[str]:
    command = _command(part, True)
    with running(command):
        # What a server says to the end before it waits for clients, and a lone peer for its only one.
        wait_for_text(
            _said(part),
            "Initialization Sequence Completed"
            if "--mode" in command
            else "Listening for incoming TCP"
            if part.through == "openvpn_tcp"
            else "UDPv4 link local (bound)",
        )
        yield addresses(part)[0]


@contextlib.contextmanager
def connect(part: Part) -> Iterator[str]:
    with running(_command(part, False)):
        wait_for_text(_said(part), "Initialization Sequence Completed")
        yield addresses(part)[0]
