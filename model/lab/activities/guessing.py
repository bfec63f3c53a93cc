"""The shape of password guessing by the usual testing programs, at most 100 tries of random words.

The servers are the lab's own (or know no such user): no word is ever right, and nothing but the lab's hosts is asked.
"""

from __future__ import annotations

import contextlib
import os
import socketserver
import ssl
import sys
import threading

from .. import fronted, tls_front
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..serving import run_server
from ..workers import run_bounded
from . import sessions, ssh

_TOOLS = ("hydra", "medusa", "ncrack")
_TLS = ("python", "stunnel", "node")
_PORTS = {
    "guess_ssh_password": 22,
    "guess_ftp": 21,
    "guess_imaps": 993,
    "guess_pop3s": 995,
    "guess_smtps": 465,
    "guess_telnet": 23,
    "guess_form": 443,
}


def _kind(name: str, service: str, application: str, both: tuple[str, ...]) -> Activity:
    return Activity(service, both, application=application, malicious=name, tcp_ports=(_PORTS[name],))


ACTIVITIES = {
    "guess_ssh_password": _kind(
        "guess_ssh_password",
        "remote_access",
        "SSH",
        (*pairs(("openssh", "dropbear"), ("hydra", "medusa")), "openssh/ncrack"),
    ),
    "guess_ftp": _kind("guess_ftp", "file_transfer", "FTP", pairs(("pyftpdlib", "python"), _TOOLS)),
    "guess_imaps": _kind("guess_imaps", "email", "IMAP", pairs(_TLS, ("hydra", "medusa"))),
    "guess_pop3s": _kind("guess_pop3s", "email", "POP3", pairs(_TLS, _TOOLS)),
    "guess_smtps": _kind("guess_smtps", "email", "SMTP", pairs(_TLS, ("hydra",))),
    "guess_telnet": _kind("guess_telnet", "remote_access", "Telnet", pairs(("python",), ("hydra", "medusa"))),
    "guess_form": _kind("guess_form", "web", "", pairs(fronted.SERVERS, ("hydra", "ncrack"))),
}


# --- servers that know no right word ---


class _Server(sessions._Server):
    request_queue_size = 64
    #: The activity whose words are refused.
    kind: str

    def handle_error(self, *_: object) -> None:
        pass


class _Refuser(socketserver.StreamRequestHandler):
    server: _Server
    timeout = 30

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")

    def ask(self) -> bytes:
        line = self.rfile.readline(2000)
        if not line:
            raise EOFError
        return line.rstrip()

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            getattr(self, self.server.kind)()

    def guess_ftp(self) -> None:
        self.say(b"220 (lab 1.0)")
        for _ in range(30):
            word = self.ask()[:4].upper().strip()
            self.say(
                {
                    b"USER": b"331 Please specify the password.",
                    b"PASS": b"530 Login incorrect.",
                    b"QUIT": b"221 Goodbye.",
                }.get(word, b"530 Please login with USER and PASS.")
            )
            if word == b"QUIT":
                return

    def guess_imaps(self) -> None:
        self.say(b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN] lab ready.")
        for _ in range(12):
            tag, word, *_rest = (*self.ask().split(b" "), b"", b"")
            word = word.upper()
            if word == b"CAPABILITY":
                self.say(b"* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN")
                self.say(tag + b" OK Pre-login capabilities listed, post-login capabilities have more.")
            elif word == b"LOGOUT":
                self.say(b"* BYE Logging out\r\n" + tag + b" OK Logout completed.")
                return
            else:
                self.say(tag + b" NO [AUTHENTICATIONFAILED] Authentication failed.")

    def guess_pop3s(self) -> None:
        self.say(b"+OK lab ready.")
        for _ in range(20):
            word = self.ask()[:4].upper().strip()
            if word == b"CAPA":
                self.say(b"+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nUSER\r\n.")
            elif word == b"PASS":
                self.say(b"-ERR [AUTH] Authentication failed.")
            elif word == b"QUIT":
                self.say(b"+OK Logging out")
                return
            else:
                self.say(b"+OK")

    def guess_smtps(self) -> None:
        self.say(b"220 lab.test ESMTP")
        for _ in range(30):
            words = self.ask().upper().split()
            if words[:1] == [b"EHLO"]:
                self.say(b"250-lab.test\r\n250-SIZE 30000000\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME")
            elif words[:1] == [b"AUTH"]:
                # LOGIN asks for a name and a word, PLAIN for both at once.
                for question in (b"334 VXNlcm5hbWU6", b"334 UGFzc3dvcmQ6") if b"LOGIN" in words else (b"334 ",):
                    if len(words) < 3:
                        self.say(question)
                        self.ask()
                self.say(b"535 5.7.8 Error: authentication failed")
            elif words[:1] == [b"QUIT"]:
                self.say(b"221 2.0.0 Bye")
                return
            else:
                self.say(b"250 2.0.0 Ok")

    def guess_telnet(self) -> None:
        self.wfile.write(b"\xff\xfb\x01\xff\xfb\x03lab\r\n")
        for _ in range(3):
            for prompt in (b"lab login: ", b"Password: "):
                self.wfile.write(prompt)
                # A telnet's line ends with CR NUL, CR LF or LF, by program.
                while (key := self.rfile.read(1)) not in (b"\r", b"\n"):
                    if not key:
                        raise EOFError
                if key == b"\r":
                    self.rfile.read(1)
            self.wfile.write(b"\r\n\r\nLogin incorrect\r\n")


def serve(part: Part) -> None:
    port = _PORTS[part.activity]
    if part.activity == "guess_form":
        fronted.serve(part)
    elif part.activity == "guess_ssh_password":
        run_server(part, _ssh_server(part), port)
    elif part.server == "pyftpdlib":
        _pyftpdlib(part, port)
    else:
        _refuse(part, port)


def _refuse(part: Part, port: int) -> None:
    direct = part.server == "python"
    server = _Server((part.address, port) if direct else ("127.0.0.1", 0), _Refuser)
    server.kind = part.activity
    if not direct:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tls_front.front(part, part.server, port, server.server_address[1])
        return
    if part.activity not in ("guess_ftp", "guess_telnet"):
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # The tools' TLS is old.
        server.context.minimum_version = ssl.TLSVersion.TLSv1_2
        server.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    part.ready()
    server.serve_forever()


def _ssh_server(part: Part) -> list[str]:
    command = ssh.server_command(part.server, part)
    if part.server == "openssh":
        # Passwords are asked for, but the only user who may come in does not exist.
        config = part.scratch / "sshd_config"
        config.write_text(
            config.read_text().replace("PasswordAuthentication no", "PasswordAuthentication yes")
            + "AllowUsers lab-nobody-at-all\n"
        )
        return command
    # Without -s Dropbear asks for passwords; -w and the unknown user keep everybody out.
    return [word if word != "-s" else "-w" for word in command]


def _pyftpdlib(part: Part, port: int) -> None:
    import logging

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

    logging.basicConfig(level=logging.CRITICAL)

    class Handler(FTPHandler):  # type: ignore[misc]  # pyftpdlib comes without types
        authorizer, banner, auth_failed_timeout = DummyAuthorizer(), "lab ready.", 1

    server = FTPServer((part.address, port), Handler)
    part.ready()
    server.serve_forever()


# --- the testing programs ---


def act(part: Part) -> None:
    check(part)
    draw = part.draw
    words = part.scratch / "words"
    # Where each try is a connection or two, fewer show the shape.
    tries = {
        "guess_form": 12 if part.client == "hydra" else 60,
        "guess_pop3s": 30,
        "guess_imaps": 30,
        "guess_ftp": 60,
    }.get(part.activity, 100)
    words.write_text("".join(f"{draw.getrandbits(draw.randrange(24, 56)):x}\n" for _ in range(tries)))
    command = {"hydra": _hydra, "medusa": _medusa, "ncrack": _ncrack}[part.client](
        part, str(words), draw.choice((1, 2, 4))
    )
    # Each has reasons of its own to end with a number; that nothing was sent shows in the capture.
    run_bounded(part, command)
    sys.stdout.flush()
    os._exit(0)


_USER = "lab"


def _hydra(part: Part, words: str, tasks: int) -> list[str]:
    service = {
        "guess_ssh_password": "ssh",
        "guess_ftp": "ftp",
        "guess_imaps": "imaps",
        "guess_pop3s": "pop3s",
        "guess_smtps": "smtps",
        "guess_telnet": "telnet",
        "guess_form": "https-post-form",
    }[part.activity]
    more = (
        [f"/200/{part.draw.randrange(200, 3000)}/login:user=^USER^&pass=^PASS^:S=welcome-to-the-lab"]
        if part.activity == "guess_form"
        else []
    )
    # Forms take it some connections for each try: one try a second.
    pace = ["-c", "1"] if more else ["-t", str(tasks)]
    return [
        "hydra",
        "-I",
        "-q",
        "-K",
        "-l",
        _USER,
        "-P",
        words,
        *pace,
        "-s",
        str(_PORTS[part.activity]),
        part.address,
        service,
        *more,
    ]


def _medusa(part: Part, words: str, tasks: int) -> list[str]:
    module = {
        "guess_ssh_password": "ssh",
        "guess_ftp": "ftp",
        "guess_imaps": "imap",
        "guess_pop3s": "pop3",
        "guess_telnet": "telnet",
    }[part.activity]
    secure = ["-s"] if part.activity in ("guess_imaps", "guess_pop3s") else []
    return [
        "medusa",
        "-h",
        part.address,
        "-u",
        _USER,
        "-P",
        words,
        "-M",
        module,
        "-n",
        str(_PORTS[part.activity]),
        "-t",
        str(tasks),
        *secure,
    ]


def _ncrack(part: Part, words: str, tasks: int) -> list[str]:
    service = {"guess_ssh_password": "ssh", "guess_ftp": "ftp", "guess_pop3s": "pop3s", "guess_form": "https"}[
        part.activity
    ]
    # With HTTP it tries basic authentication, which the path asks for.
    path = f",path=401/{part.draw.randrange(200, 3000)}/login" if service == "https" else ""
    return [
        "ncrack",
        "--user",
        _USER,
        "-P",
        words,
        f"{service}://{part.address}:{_PORTS[part.activity]},CL={tasks}{path}",
    ]
