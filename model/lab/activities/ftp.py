"""FTP over TLS (explicit, AUTH TLS on port 21), its data connections over TLS too; and the shape of password guessing.

Servers: ProFTPD, pyftpdlib. The data connections' ports are the servers' choice: no port forwarder carries it.
"""

from __future__ import annotations

import contextlib
import ftplib
import io
import os
import ssl
import subprocess
from functools import partial
from pathlib import Path
from random import Random

from ..activity import Activity, pairs
from ..errands import errands, lay_out, own_file, rest
from ..fence import check
from ..part import Part
from ..serving import open_to_others, run_server
from ..workers import side_by_side

PORT, _PASSIVE = 21, (40000, 40400)
_USER, _PASSWORD = "ann", "not-secret"
_UID = 65533

_SERVERS = ("proftpd", "pyftpdlib")

ACTIVITIES = {
    "ftps": Activity("file_transfer", pairs(_SERVERS, ("lftp", "curl", "ftplib")), application="FTPS"),
    "guess_ftps": Activity(
        "file_transfer", pairs(_SERVERS, ("ftplib", "lftp", "curl")), application="FTPS", malicious="guess_ftps"
    ),
}


# --- servers ---


def serve(part: Part) -> None:
    root = part.scratch / "site"
    lay_out(part, root)
    for path in root.rglob("*"):
        os.chown(path, _UID, _UID)
    open_to_others(part.scratch)
    {"proftpd": _proftpd, "pyftpdlib": _pyftpdlib}[part.server](part, root)


def _proftpd(part: Part, root: Path) -> None:
    here = part.scratch
    users = here / "users"
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", _PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    users.write_text(f"{_USER}:{hashed}:{_UID}:{_UID}::{root}:/bin/sh\n")
    users.chmod(0o640)
    config = here / "proftpd.conf"
    config.write_text(
        f"""LoadModule mod_tls.c
ServerName lab
ServerType standalone
DefaultAddress {part.address}
SocketBindTight on
UseIPv6 off
UseReverseDNS off
Port {PORT}
PassivePorts {_PASSIVE[0]} {_PASSIVE[1]}
PidFile {here}/pid
ScoreboardFile {here}/scoreboard
DelayTable none
SystemLog {here}/log
WtmpLog off
User root
Group root
AuthOrder mod_auth_file.c
AuthUserFile {users}
RequireValidShell off
AllowOverwrite on
AllowStoreRestart on
<IfModule mod_tls.c>
TLSEngine on
TLSRequired on
TLSECCertificateFile {part.secrets}/cert.pem
TLSECCertificateKeyFile {part.secrets}/key.pem
TLSOptions NoSessionReuseRequired
TLSLog {here}/tlslog
</IfModule>
"""
    )
    run_server(part, ["proftpd", "-n", "-q", "-c", str(config)], PORT)


def _pyftpdlib(part: Part, root: Path) -> None:
    import logging

    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import TLS_FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    logging.disable()
    users = DummyAuthorizer()
    users.add_user(_USER, _PASSWORD, str(root), perm="elradfmwMT")

    class Handler(TLS_FTPHandler):  # type: ignore[misc]  # pyftpdlib comes without types
        certfile, keyfile = str(part.secrets / "cert.pem"), str(part.secrets / "key.pem")
        tls_control_required = tls_data_required = True
        authorizer, passive_ports, banner = users, range(*_PASSIVE), "lab ready"

    server = ThreadedFTPServer((part.address, PORT), Handler)
    part.ready()
    server.serve_forever(handle_exit=False)


# --- clients ---


def act(part: Part) -> None:
    if part.activity == "guess_ftps":
        check(part)
        _guess(part)
    side_by_side(part, [lambda: _CLIENTS[part.client](part)])


def _connect(part: Part) -> ftplib.FTP_TLS:
    client = ftplib.FTP_TLS(context=ssl._create_unverified_context(), timeout=60)
    client.connect(part.address, PORT)
    return client


def _ftplib(part: Part) -> None:
    draw = Random(part.seed + 1)
    client = _connect(part)
    client.login(_USER, _PASSWORD)
    client.prot_p()
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "list":
            client.retrlines(f"LIST {what}".strip(), lambda _: None)
        elif errand == "get":
            client.retrbinary(f"RETR {what}", lambda _: None)
        else:
            client.storbinary(f"STOR incoming/{number}.bin", io.BytesIO(os.urandom(int(what))))
        if not rest(part, draw):
            break
    client.quit()


def _lftp(part: Part) -> None:
    draw = Random(part.seed + 1)
    rules = (
        "set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set net:max-retries 2; "
        "set cmd:fail-exit no; set xfer:clobber yes; set net:timeout 30; set ftp:prefer-epsv no"
    )
    process = subprocess.Popen(
        ["lftp", "-u", f"{_USER},{_PASSWORD}", "-p", str(PORT), "-e", rules, part.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin, "a pipe"
    local = part.scratch / "local.bin"
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "put":
            own_file(part, f"{number}.bin", int(what))
        line = {
            "list": f"cls -l {what}",
            "get": f"get {what} -o {local}",
            "put": f"put -O incoming {part.scratch}/{number}.bin",
        }
        process.stdin.write(line[errand].encode() + b"\n")
        process.stdin.flush()
        if not rest(part, draw):
            break
        if process.poll() is not None:
            raise ChildProcessError(f"ended with {process.returncode}")
    process.terminate()


def _curl(part: Part) -> None:
    """Each folder's errands in a run of its own: the program keeps its control connection for several files."""
    draw = Random(part.seed + 1)
    base = f"ftp://{part.address}"
    common = ["-k", "--ssl-reqd", "-u", f"{_USER}:{_PASSWORD}", "--max-time", "90", "-s", "-o", "/dev/null"]
    words: list[str] = []
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "list" and words:
            done = subprocess.run(["curl", *words[1:]], check=False)
            if done.returncode and part.left() > 1:
                raise ChildProcessError(f"ended with {done.returncode}")
            words = []
            if not part.pause(0.5 + draw.expovariate(1 / 3)):
                return
        words += ["--next", *common]
        if errand == "put":
            words += ["-T", str(own_file(part, f"{number}.bin", int(what))), f"{base}/incoming/"]
        else:
            words.append(f"{base}/{what}{'/' if errand == 'list' and what else ''}")


_CLIENTS = {"ftplib": _ftplib, "lftp": _lftp, "curl": _curl}


def _guess(part: Part) -> None:
    """Log-ins that fail: at most 60, from one connection at a time, or three."""
    draw = part.draw

    def one(draw: Random) -> None:
        if part.client != "ftplib":
            word = f"{draw.getrandbits(40):x}"
            command = [
                "curl",
                "-sk",
                "--ssl-reqd",
                "-u",
                f"{_USER}:{word}",
                "--max-time",
                "30",
                f"ftp://{part.address}/",
            ]
            if part.client == "lftp":
                command = [
                    "lftp",
                    "-u",
                    f"{_USER},{word}",
                    "-e",
                    "set ssl:verify-certificate no; set ftp:ssl-force yes; set net:max-retries 1; ls; exit",
                    part.address,
                ]
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=40,
                check=False,
            )
            return
        client = _connect(part)
        client.auth()
        for _ in range(draw.randrange(1, 4)):
            with contextlib.suppress(ftplib.error_perm):
                client.login(_USER, f"{draw.getrandbits(40):x}", secure=False)
        client.close()

    def guesses(seed: int, most: int) -> None:
        draw = Random(seed)
        for _ in range(most):
            with contextlib.suppress(OSError, EOFError, ftplib.Error, subprocess.TimeoutExpired):
                one(draw)
            if not part.pause(draw.uniform(0.1, 0.8)):
                return

    count = draw.choice((1, 3))
    side_by_side(part, [partial(guesses, part.seed + number, 60 // count) for number in range(count)])
