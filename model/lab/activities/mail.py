"""Mail handed in by SMTP: over TLS from the start (port 465), and by a submission's STARTTLS (port 587).

Servers: Exim, aiosmtpd, and the lab's own, its TLS by Python or by stunnel in front of it. All throw mails away.
"""

from __future__ import annotations

import base64
import os
import socketserver
import ssl
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import Any

from .. import behaviour, tls_front
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

PORT, SUBMISSION = 465, 587

_CLIENTS = ("smtplib", "curl", "swaks", "msmtp")

ACTIVITIES = {
    "mail_send": Activity(
        "email", pairs(("python", "stunnel", "exim", "aiosmtpd"), _CLIENTS), application="SMTPS", tcp_ports=(PORT,)
    ),
    "mail_submit": Activity(
        "email", pairs(("exim", "aiosmtpd"), _CLIENTS), application="SMTPS", tcp_ports=(SUBMISSION,)
    ),
}


def _port(part: Part) -> int:
    return SUBMISSION if part.activity == "mail_submit" else PORT


class _Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        def say(line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        say("220 lab.test ESMTP")
        while line := self.rfile.readline(2000):
            word = line[:4].upper().strip()
            if word == b"EHLO":
                say("250-lab.test\r\n250-SIZE 30000000\r\n250-8BITMIME\r\n250-AUTH PLAIN\r\n250 ENHANCEDSTATUSCODES")
            elif word == b"AUTH":
                if len(line.split()) < 3:
                    say("334 ")
                    self.rfile.readline(2000)
                say("235 2.7.0 Authentication successful")
            elif word == b"DATA":
                say("354 End data with <CR><LF>.<CR><LF>")
                while (text := self.rfile.readline(70_000)) and text != b".\r\n":
                    pass
                say("250 2.0.0 Ok: queued as 4F2A1")
            elif word == b"QUIT":
                say("221 2.0.0 Bye")
                return
            else:
                say("250 2.1.0 Ok")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    context: ssl.SSLContext | None = None

    # `request` is a TCP server's, a socket.
    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            wrapped = self.context.wrap_socket(request, server_side=True) if self.context else request
            super().finish_request(wrapped, client_address)
        except OSError:
            pass


def serve(part: Part) -> None:
    if part.server == "exim":
        run_server(part, ["exim4", "-bdf", "-C", str(_exim(part))], _port(part))
    if part.server == "aiosmtpd":
        _aiosmtpd(part)
    if part.server == "python":
        server = _Server((part.address, PORT), _Mail)
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        part.ready()
        server.serve_forever()
    # Between stunnel and the server the words stay inside the host.
    server = _Server(("127.0.0.1", 0), _Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tls_front.front(part, "stunnel", PORT, server.server_address[1])


def _exim(part: Part) -> Path:
    here = part.scratch
    config = here / "exim.conf"
    config.write_text(
        f"""primary_hostname = lab.test
exim_user = root
exim_group = root
spool_directory = {here}/spool
log_file_path = {here}/%slog
pid_file_path = {here}/pid
daemon_smtp_ports = {_port(part)}
tls_on_connect_ports = {PORT}
local_interfaces = {part.address}
tls_advertise_hosts = *
tls_certificate = {part.secrets}/cert.pem
tls_privatekey = {part.secrets}/key.pem
auth_advertise_hosts = *
acl_smtp_rcpt = all
acl_smtp_data = all
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
begin acl
all:
  accept
begin routers
gone:
  driver = accept
  transport = gone
begin transports
gone:
  driver = appendfile
  file = /dev/null
  user = nobody
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = true
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = true
"""
    )
    return config


def _aiosmtpd(part: Part) -> None:
    import asyncio
    import logging

    from aiosmtpd.handlers import Sink
    from aiosmtpd.smtp import SMTP, AuthResult

    logging.disable()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    starttls = _port(part) == SUBMISSION

    def session() -> SMTP:
        return SMTP(
            Sink(),
            hostname="lab.test",
            authenticator=lambda *_: AuthResult(success=True),
            auth_require_tls=starttls,
            tls_context=context if starttls else None,
            require_starttls=starttls,
        )

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(
            session, part.address, _port(part), ssl=None if starttls else context
        )
        part.ready()
        await server.serve_forever()

    asyncio.run(run())


def act(part: Part) -> None:
    draw, starttls, address = part.draw, _port(part) == SUBMISSION, f"{part.address}:{_port(part)}"
    while True:
        size = behaviour.mail(draw)
        body = base64.encodebytes(os.urandom(int(size * 0.73))).decode()
        text = f"From: ann@lab.test\nTo: bob@lab.test\nSubject: lab\n\n{body}"
        if part.client == "smtplib":
            import smtplib

            context = ssl._create_unverified_context()
            made = smtplib.SMTP if starttls else partial(smtplib.SMTP_SSL, context=context)
            with made(part.address, _port(part), "laptop.lab.test", timeout=60) as client:
                if starttls:
                    client.starttls(context=context)
                client.login("ann", "not-secret")
                client.sendmail("ann@lab.test", ["bob@lab.test"], text)
        else:
            envelope = ["ann@lab.test", "bob@lab.test"]
            command = {
                "curl": [
                    "curl",
                    "-sk",
                    f"{'smtp' if starttls else 'smtps'}://{address}",
                    "--ssl-reqd",
                    "--mail-from",
                    envelope[0],
                    "--mail-rcpt",
                    envelope[1],
                    "--user",
                    "ann:not-secret",
                    "--login-options",
                    "AUTH=PLAIN",
                    "-T",
                    "-",
                    "--max-time",
                    "60",
                ],
                "swaks": [
                    "swaks",
                    "--server",
                    address,
                    "--tls" if starttls else "--tlsc",
                    "-a",
                    "PLAIN,LOGIN",
                    "-au",
                    "ann",
                    "-ap",
                    "not-secret",
                    "-f",
                    envelope[0],
                    "-t",
                    envelope[1],
                    "-ehlo",
                    "laptop.lab.test",
                    "-d",
                    "-",
                ],
                "msmtp": [
                    "msmtp",
                    "--file=/dev/null",
                    f"--host={part.address}",
                    f"--port={_port(part)}",
                    "--tls=on",
                    f"--tls-starttls={'on' if starttls else 'off'}",
                    "--tls-certcheck=off",
                    "--auth=plain",
                    "--user=ann",
                    "--passwordeval=echo not-secret",
                    "-f",
                    *envelope,
                ],
            }[part.client]
            subprocess.run(
                command,
                input=text.replace("\n", "\r\n" if part.client == "curl" else "\n").encode(),
                stdout=subprocess.DEVNULL,
                check=True,
            )
        if not part.pause(3 + draw.expovariate(1 / 8)):
            return
