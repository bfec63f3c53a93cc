"""Names looked up over TLS, HTTPS and TCP: two resolvers, asked by command-line tools, a stub resolver, libraries, own
code.
"""

from __future__ import annotations

import base64
import contextlib
import random
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

from .. import behaviour, tls_pipe
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server, running
from ..unbound import secure, unbound

TCP, TLS, HTTPS, ZONE = 53, 853, 443, "lab.test"
_A, _AAAA, _HTTPS = 1, 28, 65
_KINDS = {_A: "A", _AAAA: "AAAA", _HTTPS: "TYPE65"}
_SERVERS = ("unbound", "kresd")
Wished = list[tuple[str, int]]

ACTIVITIES = {
    "dns_tls": Activity(
        "infrastructure",
        pairs(_SERVERS, ("kdig", "stubby", "dnspython", "python", "gnutls", "openssl", "node")),
        application="DoH",
        tcp_ports=(TLS,),
    ),
    "dns_https": Activity(
        "infrastructure", pairs(_SERVERS, ("kdig", "httpx", "curl")), application="DoH", tcp_ports=(HTTPS,)
    ),
    "dns_tcp": Activity("infrastructure", pairs(_SERVERS, ("kdig", "python")), application="DNS", tcp_ports=(TCP,)),
}


def _port(part: Part) -> int:
    return {"dns_tls": TLS, "dns_https": HTTPS, "dns_tcp": TCP}[part.activity]


def _name(draw: random.Random) -> str:
    """Of 300 names of different lengths, some asked for far more often."""
    number = min(int(draw.paretovariate(0.5)), 300)
    return f"{'cdn-static-assets-images-'[: number * 7 % 25]}host{number}.{ZONE}"


def serve(part: Part) -> None:
    {"unbound": _unbound, "kresd": _kresd}[part.server](part)


def _unbound(part: Part) -> None:
    draw, port = part.draw, _port(part)
    data = []
    for number in range(1, 301):
        name = f"{'cdn-static-assets-images-'[: number * 7 % 25]}host{number}.{ZONE}."
        for kind, text in (("A", "192.0.2.{}"), ("AAAA", "2001:db8::{:x}")):
            data += [
                f'local-data: "{name} 60 IN {kind} {text.format(draw.randrange(1, 250))}"'
                for _ in range(draw.choice((0, 1, 1, 1, 2, 4, 8) if kind == "AAAA" else (1, 1, 1, 2, 4, 8)))
            ]
    listening = {TLS: secure(part, TLS, "tls-port"), HTTPS: secure(part, HTTPS, "https-port")}.get(
        port, [f"interface: {part.address}@{TCP}"]
    )
    rules = [
        "tcp-idle-timeout: 15000",
        "edns-tcp-keepalive: yes",
        "pad-responses: yes",
        f'local-zone: "{ZONE}." static',
    ]
    run_server(part, unbound(part, listening, [*rules, *data]), port)


def _kresd(part: Part) -> None:
    port = _port(part)
    kind = {TLS: "tls", HTTPS: "doh2", TCP: "dns"}[port]
    config = part.scratch / "kresd.conf"
    config.write_text(
        f"""net.tls("{part.secrets}/cert.pem", "{part.secrets}/key.pem")
net.listen("{part.address}", {port}, {{ kind = "{kind}" }})
net.ipv6 = false
trust_anchors.remove(".")
modules.unload("ta_update")
modules.unload("ta_signal_query")
modules.unload("priming")
policy.add(policy.suffix(policy.ANSWER({{ [kres.type.A] = {{ rdata = kres.str2ip("192.0.2.7"), ttl = 60 }},
  [kres.type.AAAA] = {{ rdata = kres.str2ip("2001:db8::7"), ttl = 60 }} }}, true), policy.todnames({{ "{ZONE}" }})))
cache.size = 10 * MB
"""
    )
    run_server(part, ["kresd", "-n", "-q", "-c", str(config), str(part.scratch)], port)


# --- clients: each asks for the names of a page, then pauses as a reader does ---


def act(part: Part) -> None:
    draw = part.draw
    with _client(part) as ask:
        while True:
            # A browser asks for both kinds of address and, since 2021, for the service's parameters.
            wished = [
                (_name(draw), kind)
                for _ in range(1 + int(draw.expovariate(1 / 3)))
                for kind in ((_A, _AAAA, _HTTPS) if draw.random() < 0.5 else (_A, _AAAA))
            ]
            ask(wished)
            if not part.pause(min(behaviour.think(draw), 8.0)):
                return


def _client(part: Part) -> contextlib.AbstractContextManager[Callable[[Wished], None]]:
    if part.client == "stubby":
        return _stubby(part)
    return contextlib.nullcontext(
        {"kdig": _kdig, "curl": _curl, "dnspython": _dnspython, "httpx": _httpx}.get(part.client, _own)(part)
    )


def _query(name: str, kind: int, number: int | None = None, padded: bool = False) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", kind, 1)
    # RFC 8467: over TLS, queries are padded to blocks of 128 bytes.
    padding = -(12 + len(question) + 15) % 128 if padded else 0
    option = struct.pack(">HH", 12, padding) + bytes(padding) if padded else b""
    return (
        struct.pack(">HHHHHH", random.getrandbits(16) if number is None else number, 0x0100, 1, 0, 0, 1)
        + question
        + b"\0"
        + struct.pack(">HHIH", 41, 1232, 0, len(option))
        + option
    )


def _kdig(part: Part) -> Callable[[Wished], None]:
    how = {"dns_tls": "+tls", "dns_https": "+https", "dns_tcp": "+tcp"}[part.activity]

    def ask(wished: Wished) -> None:
        subprocess.run(
            [
                "kdig",
                f"@{part.address}",
                "-p",
                str(_port(part)),
                how,
                "+keepopen",
                "+timeout=10",
                "+retry=0",
                *(word for name, kind in wished for word in ("-q", name, "-t", _KINDS[kind])),
            ],
            stdout=subprocess.DEVNULL,
            check=False,
        )

    return ask


def _curl(part: Part) -> Callable[[Wished], None]:
    def ask(wished: Wished) -> None:
        words = []
        for name, kind in wished:
            text = base64.urlsafe_b64encode(_query(name, kind, 0, True)).decode().rstrip("=")
            words += ["-o", "/dev/null", f"https://{part.name}/dns-query?dns={text}"]
        subprocess.run(
            ["curl", "-sk", "--http2", "--max-time", "30", "-H", "accept: application/dns-message", *words],
            stdout=subprocess.DEVNULL,
            check=False,
        )

    return ask


def _httpx(part: Part) -> Callable[[Wished], None]:
    import httpx

    session = httpx.Client(http2=True, verify=False, timeout=30)
    session.headers.update({"accept": "application/dns-message", "content-type": "application/dns-message"})

    def ask(wished: Wished) -> None:
        for name, kind in wished:
            session.post(f"https://{part.name}/dns-query", content=_query(name, kind, 0, True)).read()

    return ask


@contextlib.contextmanager
def _stubby(part: Part) -> Iterator[Callable[[Wished], None]]:
    """A stub resolver on the client's own loopback, which applications ask by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = part.scratch / "stubby.yml"
    config.write_text(
        f"""resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_NONE
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
idle_timeout: 10000
listen_addresses: [127.0.0.1@{port}]
appdata_dir: "{part.scratch}"
upstream_recursive_servers:
  - address_data: {part.address}
    tls_port: {TLS}
"""
    )
    with running(["stubby", "-C", str(config)]):
        time.sleep(1)
        yield lambda wished: _by_udp(port, wished)


def _by_udp(port: int, wished: Wished) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.connect(("127.0.0.1", port))
        for name, kind in wished:
            asking.send(_query(name, kind))
        try:
            for _ in wished:
                asking.recv(4096)
        except OSError:
            pass


def _dnspython(part: Part) -> Callable[[Wished], None]:
    import dns.message
    import dns.query
    import dns.rdatatype

    def question(name: str, kind: int) -> dns.message.QueryMessage:
        return dns.message.make_query(name, dns.rdatatype.RdataType.make(kind), use_edns=0, pad=128)

    def ask(wished: Wished) -> None:
        # A connection per page, as for a program that looks up what it needs and ends.
        context = ssl._create_unverified_context()
        with context.wrap_socket(socket.create_connection((part.address, TLS), 30), server_hostname=part.name) as made:
            made.setblocking(False)
            for name, kind in wished:
                dns.query.tls(question(name, kind), part.address, timeout=30, sock=made)

    return ask


def _own(part: Part) -> Callable[[Wished], None]:
    """All of a page's questions in one go over a connection that is kept; made anew when the server has ended it."""
    held: list[tls_pipe.Pipe] = []

    def connect() -> tls_pipe.Pipe:
        if part.activity == "dns_tls":
            return tls_pipe.connect(part, part.client, TLS)
        raw = socket.create_connection((part.address, TCP), 20)
        return tls_pipe.Pipe(raw.sendall, raw.makefile("rb"), raw.close)

    def ask(wished: Wished) -> None:
        for _ in range(2):
            if not held:
                held.append(connect())
            try:
                for name, kind in wished:
                    text = _query(name, kind, padded=part.activity == "dns_tls")
                    held[0].send(struct.pack(">H", len(text)) + text)
                for _ in wished:
                    held[0].receive(struct.unpack(">H", held[0].receive(2))[0])
                return
            except (OSError, EOFError):
                held.pop().close()

    return ask
