"""What machines say to their infrastructure: a directory over TLS (LDAPS), logs over TLS (RFC 5425), time (NTP),
SNMPv3.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from .. import tls_front, tls_pipe
from ..activity import Activity, pairs
from ..part import Part
from ..serving import free_port, run_server, running

LDAPS, SYSLOG, NTP, SNMP = 636, 6514, 123, 161
_BASE, _PASSWORD = "dc=lab,dc=test", "lab-words-only"

ACTIVITIES = {
    "directory": Activity(
        "directory",
        (*pairs(("slapd",), ("ldapsearch", "ldap3")), "stunnel/ldapsearch", "stunnel/ldap3"),
        application="LDAP",
        tcp_ports=(LDAPS,),
    ),
    "syslog": Activity(
        "infrastructure",
        pairs(("syslog-ng", "stunnel", "python"), ("syslog-ng", "python", "gnutls", "openssl", "node")),
        application="Syslog",
        tcp_ports=(SYSLOG,),
    ),
    "ntp": Activity("infrastructure", pairs(("ntpd", "python"), ("ntpdig", "python")), application="NTP"),
    "snmp": Activity("infrastructure", ("snmpd/snmp",), application="SNMP"),
}


def serve(part: Part) -> None:
    {"directory": _directory, "syslog": _collector, "ntp": _clock, "snmp": _agent}[part.activity](part)


def act(part: Part) -> None:
    {"directory": _look_up, "syslog": _log, "ntp": _ask_time, "snmp": _monitor}[part.activity](part)


# --- directory ---


def _directory(part: Part) -> None:
    draw, here = part.draw, part.scratch
    (here / "db").mkdir()
    people = "".join(
        f"dn: uid=u{number},ou=people,{_BASE}\nobjectClass: inetOrgPerson\nuid: u{number}\ncn: User {number}\n"
        f"sn: {number}\nmail: u{number}@lab.test\nuserPassword: {_PASSWORD}\n"
        f"telephoneNumber: +1 555 {draw.randrange(10**6):06}\n"
        f"description: {os.urandom(draw.randrange(4, 90)).hex()}\n\n"
        for number in range(200)
    )
    (here / "data.ldif").write_text(
        f"dn: {_BASE}\nobjectClass: dcObject\nobjectClass: organization\no: lab\ndc: lab\n\n"
        f"dn: ou=people,{_BASE}\nobjectClass: organizationalUnit\nou: people\n\n{people}"
    )
    (here / "slapd.conf").write_text(
        f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {here}/pid
argsfile {here}/args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {part.secrets}/cert.pem
TLSCertificateKeyFile {part.secrets}/key.pem
database mdb
suffix "{_BASE}"
rootdn "cn=admin,{_BASE}"
rootpw {_PASSWORD}
directory {here}/db
maxsize 33554432
"""
    )
    subprocess.run(
        ["slapadd", "-q", "-f", str(here / "slapd.conf"), "-l", str(here / "data.ldif")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if part.server == "slapd":
        run_server(
            part, ["slapd", "-d", "0", "-f", str(here / "slapd.conf"), "-h", f"ldaps://{part.address}:{LDAPS}"], LDAPS
        )
        return
    port = free_port()
    with running(["slapd", "-d", "0", "-f", str(here / "slapd.conf"), "-h", f"ldap://127.0.0.1:{port}"]):
        tls_front.front(part, part.server, LDAPS, port)


def _look_up(part: Part) -> None:
    """Log-ins (a search for the person, then a bind as him) and address-book searches."""
    draw = part.draw

    def wish() -> tuple[str, str]:
        who = f"u{draw.randrange(200)}"
        return who, draw.choice(
            (f"(uid={who})", f"(uid={who})", f"(cn=User {draw.randrange(2, 20)}*)", f"(mail={who}@lab.test)")
        )

    if part.client == "ldapsearch":
        while True:
            who, wanted = wish()
            subprocess.run(
                [
                    "ldapsearch",
                    "-x",
                    "-LLL",
                    "-H",
                    f"ldaps://{part.address}:{LDAPS}",
                    "-D",
                    f"uid={who},ou=people,{_BASE}",
                    "-w",
                    _PASSWORD,
                    "-b",
                    _BASE,
                    wanted,
                ],
                env={**os.environ, "LDAPTLS_REQCERT": "never"},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            if not part.pause(draw.expovariate(1 / 3)):
                return
    import ldap3

    server = ldap3.Server(part.address, LDAPS, use_ssl=True, tls=ldap3.Tls(validate=ssl.CERT_NONE), get_info=ldap3.NONE)
    service = ldap3.Connection(server, f"cn=admin,{_BASE}", _PASSWORD, auto_bind=True)
    while True:
        who, wanted = wish()
        service.search(_BASE, wanted, attributes=["*"])
        if draw.random() < 0.4:
            with ldap3.Connection(server, f"uid={who},ou=people,{_BASE}", _PASSWORD, auto_bind=True):
                pass
        if not part.pause(draw.expovariate(1 / 2)):
            service.unbind()
            return


# --- logs ---


class _Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    context: ssl.SSLContext | None = None

    class _Reader(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536):
                pass

    # `request` is a TCP server's, a socket.
    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError):
            wrapped = self.context.wrap_socket(request, server_side=True) if self.context else request
            self._Reader(wrapped, client_address, self)


def _collector(part: Part) -> None:
    if part.server == "syslog-ng":
        config = part.scratch / "syslog-ng.conf"
        config.write_text(
            f"""@version: 3.38
source lab {{ syslog(ip("{part.address}") port({SYSLOG}) transport("tls")
  tls(key-file("{part.secrets}/key.pem") cert-file("{part.secrets}/cert.pem") peer-verify(optional-untrusted))); }};
destination here {{ file("{part.scratch}/messages"); }};
log {{ source(lab); destination(here); }};
"""
        )
        run_server(part, _syslog_ng(part, config), SYSLOG)
        return
    sink = _Sink((part.address, SYSLOG) if part.server == "python" else ("127.0.0.1", 0), _Sink._Reader)
    if part.server == "stunnel":
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        tls_front.front(part, part.server, SYSLOG, sink.server_address[1])
        return
    sink.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    sink.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    part.ready()
    sink.serve_forever()


def _syslog_ng(part: Part, config: Path) -> list[str]:
    here = part.scratch
    return [
        "syslog-ng",
        "-F",
        "--no-caps",
        "-f",
        str(config),
        "-p",
        f"{here}/pid",
        "-R",
        f"{here}/persist",
        "-c",
        f"{here}/control",
        "--module-path",
        "/usr/lib/syslog-ng/3.38",
    ]


def _line(draw: Random) -> str:
    """A log message: some 75 characters after its header, few long ones. Chosen, not measured."""
    size = int(min(draw.lognormvariate(4.3, 0.6), 3000))
    program = draw.choice(("sshd", "systemd", "kernel", "CRON", "nginx", "postfix/smtpd"))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    return (
        f"<{draw.randrange(8, 190)}>1 {stamp} laptop.lab.test {program} {draw.randrange(300, 65000)} - - "
        + os.urandom(size // 2 + 1).hex()
    )


def _log(part: Part) -> None:
    """Bursts of lines as something happens, and between them a line now and then."""
    draw = part.draw
    if part.client == "syslog-ng":
        pipe_file, config = part.scratch / "in", part.scratch / "syslog-ng.conf"
        os.mkfifo(pipe_file)
        config.write_text(
            f"""@version: 3.38
options {{ time-reopen(2); }};
source in {{ pipe("{pipe_file}" flags(syslog-protocol)); }};
destination out {{ syslog("{part.address}" port({SYSLOG}) transport("tls") tls(peer-verify(optional-untrusted))); }};
log {{ source(in); destination(out); }};
"""
        )
        with running(_syslog_ng(part, config)), open(pipe_file, "w") as pipe:

            def say(lines: list[str]) -> None:
                pipe.write("".join(line + "\n" for line in lines))
                pipe.flush()

            _happen(part, draw, say)
        return
    connection = tls_pipe.connect(part, part.client, SYSLOG)

    def send(lines: list[str]) -> None:
        # Octet counting (RFC 5425); some senders write line by line, some all that waits.
        frames = [f"{len(line)} {line}".encode() for line in lines]
        for frame in frames if part.seed % 2 else [b"".join(frames)]:
            connection.send(frame)

    _happen(part, draw, send)
    connection.close()


def _happen(part: Part, draw: Random, say: Callable[[list[str]], object]) -> None:
    while True:
        say([_line(draw) for _ in range(min(1 + int(draw.expovariate(1 / 3)) if draw.random() < 0.4 else 1, 40))])
        if not part.pause(min(draw.lognormvariate(0.0, 1.1), 12.0)):
            return


# --- time ---

_EPOCH = 2_208_988_800


def _stamp(at: float) -> bytes:
    return struct.pack(">II", int(at) + _EPOCH, int(at % 1 * (1 << 32)))


def _clock(part: Part) -> None:
    """A server of its own clock; ntpd runs without the right to set the machine's, and is told not to."""
    if part.server == "ntpd":
        config = part.scratch / "ntp.conf"
        config.write_text(
            f"""interface ignore wildcard
interface listen {part.address}
disable ntp
tos orphan 5 orphanwait 1
restrict default nomodify noquery
logfile {part.scratch}/log
"""
        )
        command = [
            "setpriv",
            "--bounding-set",
            "-sys_time",
            "--inh-caps",
            "-sys_time",
            "ntpd",
            "-n",
            "-c",
            str(config),
            "-p",
            f"{part.scratch}/pid",
        ]
        with running(command) as process:
            end = time.monotonic() + 25
            # It answers at once; whether it trusts its own clock yet changes no size.
            while not _asked(part.address, 0.5):
                if time.monotonic() > end or process.poll() is not None:
                    sys.exit("ntpd does not answer")
                time.sleep(0.3)
            part.ready()
            process.wait()
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((part.address, NTP))
        part.ready()
        while True:
            text, whom = listening.recvfrom(512)
            now = time.time()
            if len(text) >= 48:
                listening.sendto(
                    struct.pack(">BBbbII4s", 0x24, 2, text[2] if text[2] < 128 else 6, -23, 0x100, 0x200, b"LAB\0")
                    + _stamp(now - 20)
                    + text[40:48]
                    + _stamp(now)
                    + _stamp(time.time()),
                    whom,
                )


def _asked(address: str, patience: float) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(patience)
        try:
            asking.sendto(b"\x23" + bytes(39) + _stamp(time.time()), (address, NTP))
            return len(asking.recv(512)) >= 48
        except OSError:
            return False


def _ask_time(part: Part) -> None:
    draw = part.draw
    if part.client == "ntpdig":
        while True:
            # Prints what it measures, sets nothing.
            subprocess.run(
                ["ntpdig", "-p", str(draw.choice((1, 4, 4, 8))), "-t", "3", part.address],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            if not part.pause(draw.uniform(3, 8)):
                return
    # As systemd-timesyncd and ntpd with iburst: one socket kept, a burst first, then a poll that hardly varies.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2)
        asking.connect((part.address, NTP))
        burst, poll, sent = draw.choice((1, 4, 8)), draw.choice((2, 4, 8)), 0
        while True:
            asking.send(struct.pack(">BBbb", 0x23, 0, 6, -20) + bytes(36) + _stamp(time.time()))
            sent += 1
            with contextlib.suppress(OSError):
                asking.recv(512)
            if not part.pause((2 if burst > 4 else 0.5) if sent < burst else poll + draw.uniform(0, 0.2)):
                return


# --- management ---


def _agent(part: Part) -> None:
    config = part.scratch / "snmpd.conf"
    config.write_text(
        f"""agentaddress udp:{part.address}:{SNMP}
createUser lab SHA {_PASSWORD} AES {_PASSWORD}
rouser lab priv
"""
    )
    os.environ["SNMP_PERSISTENT_DIR"] = str(part.scratch)
    process = subprocess.Popen(
        [
            "snmpd",
            "-f",
            "-C",
            "-c",
            str(config),
            "-Lf",
            str(part.scratch / "log"),
            "-x",
            "",
            "-I",
            "-smux",
            "-p",
            str(part.scratch / "pid"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 15
        ask = [*_snmp(part, "snmpget"), "1.3.6.1.2.1.1.3.0"]
        while subprocess.run(ask, capture_output=True, check=False).returncode:
            if time.monotonic() > end or process.poll() is not None:
                sys.exit("snmpd does not answer")
            time.sleep(0.2)
        part.ready()
        process.wait()
    finally:
        process.terminate()


def _snmp(part: Part, program: str) -> list[str]:
    return [
        program,
        "-v3",
        "-l",
        "authPriv",
        "-u",
        "lab",
        "-a",
        "SHA",
        "-A",
        _PASSWORD,
        "-x",
        "AES",
        "-X",
        _PASSWORD,
        "-t",
        "2",
        "-r",
        "1",
        f"{part.address}:{SNMP}",
    ]


def _monitor(part: Part) -> None:
    """A monitoring system's round: some values, a walk over the interfaces, sometimes over all of the system."""
    draw = part.draw
    os.environ["SNMP_PERSISTENT_DIR"] = str(part.scratch)
    while True:
        turn = draw.random()
        if turn < 0.4:
            command = [
                *_snmp(part, "snmpget"),
                *(f"1.3.6.1.2.1.1.{number}.0" for number in draw.sample(range(1, 7), 3)),
            ]
        elif turn < 0.8:
            command = [*_snmp(part, "snmpbulkwalk"), "1.3.6.1.2.1.2.2"]
        else:
            command = [*_snmp(part, "snmpwalk"), draw.choice(("1.3.6.1.2.1.1", "1.3.6.1.2.1.11"))]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if not part.pause(draw.uniform(2, 6)):
            return
