"""Mail handed in by SMTP over TLS (port 465). Server: the lab's own, its TLS by Python or by stunnel in front of it."""

from __future__ import annotations

import base64
import os
import socketserver
import ssl
import subprocess
import threading

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

PORT, _PLAIN = 465, 2525

ACTIVITIES = {
    "mail_send": Activity("email", pairs(("python", "stunnel"), ("smtplib", "curl")), application="SMTPS",
                          tcp_ports=(PORT,)),
}


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

    def finish_request(self, request, client_address) -> None:
        try:
            wrapped = self.context.wrap_socket(request, server_side=True) if self.context else request
            super().finish_request(wrapped, client_address)
        except OSError:
            pass


def serve(part: Part) -> None:
    if part.server == "python":
        server = _Server((part.address, PORT), _Mail)
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        part.ready()
        server.serve_forever()
    # Between stunnel and the server the words stay inside the host.
    server = _Server(("127.0.0.1", 0), _Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = part.scratch / "stunnel.conf"
    config.write_text(
        f"""foreground = yes
pid =
syslog = no
[mail]
accept = {part.address}:{PORT}
connect = 127.0.0.1:{server.server_address[1]}
cert = {part.secrets}/cert.pem
key = {part.secrets}/key.pem
"""
    )
    run_server(part, ["stunnel4", str(config)], PORT)


def act(part: Part) -> None:
    draw = part.draw
    while True:
        size = behaviour.mail(draw)
        body = base64.encodebytes(os.urandom(int(size * 0.73))).decode()
        text = f"From: ann@lab.test\nTo: bob@lab.test\nSubject: lab\n\n{body}"
        if part.client == "smtplib":
            import smtplib

            context = ssl._create_unverified_context()
            with smtplib.SMTP_SSL(part.address, PORT, "laptop.lab.test", timeout=60, context=context) as client:
                client.login("ann", "not-secret")
                client.sendmail("ann@lab.test", ["bob@lab.test"], text)
        else:
            subprocess.run(
                ["curl", "-sk", f"smtps://{part.address}:{PORT}", "--mail-from", "ann@lab.test", "--mail-rcpt",
                 "bob@lab.test", "--user", "ann:not-secret", "--login-options", "AUTH=PLAIN", "-T", "-",
                 "--max-time", "60"],
                input=text.replace("\n", "\r\n").encode(), stdout=subprocess.DEVNULL, check=True,
            )
        if not part.pause(3 + draw.expovariate(1 / 8)):
            return
