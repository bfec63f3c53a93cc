"""The shapes of beacons and tunnels in DNS that is itself inside TLS (DoT) or HTTPS (DoH), and a person's look-ups the
same way.

Servers: unbound for both, and the lab's own answers behind web servers for DoH. Clients: kdig (GnuTLS), Python, curl,
httpx.
"""

from __future__ import annotations

import base64
import struct
import subprocess
from random import Random

from .. import behaviour, fronted, tls_front, tls_pipe
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..serving import free_port, run_server, running, wait_for_port
from ..unbound import secure as secure_lines
from ..unbound import unbound
from ..workers import side_by_side
from . import dns

_DOT, _DOH = 853, 443
_PIPES = ("python", "openssl", "gnutls", "socat", "node")
_TLS = pairs(("unbound", "stunnel"), (*_PIPES, "kdig"))
_HTTPS = (
    *pairs(("unbound",), ("httpx", "curl-h2", "kdig")),
    *pairs(("nginx", "caddy", "python"), ("httpx", "requests", "node")),
)

ACTIVITIES = {
    "dns_over_tls": Activity("infrastructure", _TLS, application="DoH", tcp_ports=(_DOT,)),
    "dns_over_https": Activity("infrastructure", _HTTPS, application="DoH", tcp_ports=(_DOH,)),
    "beacon_dot": Activity("infrastructure", _TLS, application="DoH", malicious="beacon_dot", tcp_ports=(_DOT,)),
    "beacon_doh": Activity("infrastructure", _HTTPS, application="DoH", malicious="beacon_doh", tcp_ports=(_DOH,)),
    "dns_tunnel_dot": Activity(
        "infrastructure", _TLS, application="DoH", tunnel="dns", malicious="dns_tunnel_dot", tcp_ports=(_DOT,)
    ),
    "dns_tunnel_doh": Activity(
        "infrastructure", _HTTPS, application="DoH", tunnel="dns", malicious="dns_tunnel_doh", tcp_ports=(_DOH,)
    ),
}


def _over_tls(part: Part) -> bool:
    return part.activity in ("dns_over_tls", "beacon_dot", "dns_tunnel_dot")


def serve(part: Part) -> None:
    if part.server not in ("unbound", "stunnel"):
        fronted.serve(part)
        return
    draw = part.draw
    secure, port = part.server == "unbound", _DOT if _over_tls(part) else _DOH
    words = [f'"{draw.getrandbits(400):0100x}"' for _ in range(2)]
    # In front of it: DNS over TCP inside the host, TLS by another program.
    inner = free_port()
    command = unbound(
        part,
        secure_lines(part, port, "tls-port" if _over_tls(part) else "https-port")
        if secure
        else [f"interface: 127.0.0.1@{inner}"],
        [
            "tcp-idle-timeout: 60000",
            f'local-zone: "{dns.ZONE}." redirect',
            f'local-data: "{dns.ZONE}. 60 IN A 192.0.2.7"',
            f"local-data: '{dns.ZONE}. 60 IN TXT {' '.join(words)}'",
        ],
    )
    if secure:
        run_server(part, command, port)
        return
    with running(command):
        wait_for_port("127.0.0.1", inner)
        tls_front.front(part, part.server, port, inner)


def act(part: Part) -> None:
    check(part)
    side_by_side(part, [lambda: _play(part)])


def _name(draw: Random, length: int) -> str:
    text = "".join(draw.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(length))
    return ".".join(text[at : at + 60] for at in range(0, length, 60)) + "." + dns.ZONE


def _play(part: Part) -> None:
    draw = part.draw
    beacon, tunnel = part.activity.startswith("beacon"), part.activity.startswith("dns_tunnel")
    interval, jitter = draw.choice((1, 2, 4)), draw.choice((0.0, 0.1, 0.3))
    while part.left() > 0:
        # A connection lasts some questions, as resolvers' idle times and clients' habits have it.
        client = _Client(part)
        for _ in range(
            draw.randrange(40, 200) if tunnel else draw.randrange(4, 12) if beacon else draw.randrange(3, 40)
        ):
            if tunnel:
                client.ask(_name(draw, draw.randrange(60, 170)), dns._TXT, draw)
                pause = draw.expovariate(1 / 0.1)
            elif beacon:
                task = draw.random() < 0.15
                client.ask(_name(draw, draw.randrange(12, 40)), dns._TXT if task else dns._A, draw)
                pause = 0.05 if task else behaviour.beacon(interval, jitter, draw)
            else:
                client.ask(f"host{draw.randrange(500)}.{dns.ZONE}", dns._A, draw)
                pause = 0.01 if draw.random() < 0.7 else min(behaviour.think(draw), 6.0)
            if not part.pause(pause):
                return
        client.close()


class _Client:
    """Asks one question at a time over one connection, except kdig and curl, which make one for each."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.pipe: tls_pipe.Pipe | None = None
        self.http: fronted.Client | None = None
        if part.client in ("kdig", "curl-h2"):
            return
        if _over_tls(part):
            self.pipe = tls_pipe.connect(part, part.client, _DOT)
        else:
            self.http = fronted.Client(part, True)

    def ask(self, name: str, kind: int, draw: Random) -> None:
        part = self.part
        query = dns._query(name, kind)
        if part.client == "kdig":
            subprocess.run(
                [
                    "kdig",
                    f"@{part.address}",
                    "+tls" if _over_tls(part) else "+https",
                    "+timeout=10",
                    "+retry=0",
                    name,
                    "TXT" if kind == dns._TXT else "A",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        elif self.pipe:
            self.pipe.send(struct.pack(">H", len(query)) + query)
            self.pipe.receive(struct.unpack(">H", self.pipe.receive(2))[0])
        elif part.server == "unbound":
            text = base64.urlsafe_b64encode(query).decode().rstrip("=")
            if self.http:
                self.http.request("GET", f"/dns-query?dns={text}", headers={"Accept": "application/dns-message"})
            else:
                subprocess.run(
                    [
                        "curl",
                        "-sk",
                        "--http2",
                        "--max-time",
                        "20",
                        "-H",
                        "Accept: application/dns-message",
                        f"https://{part.name}/dns-query?dns={text}",
                    ],
                    stdout=subprocess.DEVNULL,
                    check=False,
                )
        elif self.http:
            # As many bytes back as such an answer has.
            size = len(query) + (240 if kind == dns._TXT else 16)
            self.http.request("POST", f"/200/{size}/dns-query", query, {"Content-Type": "application/dns-message"})

    def close(self) -> None:
        for end in (self.pipe, self.http):
            if end:
                end.close()
