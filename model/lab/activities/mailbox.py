"""Mail read by IMAP (waiting in IDLE or asking each few seconds) and fetched by POP, both over TLS, from a real
Dovecot.

Mails arrive as they do on a server: as files in the Maildir, while the client waits. Also password guessing's shape.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

from .. import behaviour, tls_front
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..serving import free_port, open_to_others, run_server, running, wait_for_port
from ..workers import side_by_side

IMAPS, POPS = 993, 995
_USER, _PASSWORD = "ann", "not-secret"
# Dovecot gives no mail to root; its mails belong to a user that exists nowhere else.
_UID = 65533

_SERVERS = ("dovecot", "dovecot-stunnel")
_READERS = ("imaplib", "imapclient", "mutt", "mbsync", "fetchmail", "curl")

ACTIVITIES = {
    "mail_idle": Activity("email", pairs(_SERVERS, _READERS), application="IMAPS", tcp_ports=(IMAPS,)),
    "mail_collect": Activity(
        "email",
        pairs(_SERVERS, ("poplib", "mpop", "getmail", "fetchmail", "curl")),
        application="POPS",
        tcp_ports=(POPS,),
    ),
    "guess_imap": Activity(
        "email",
        pairs(_SERVERS, ("imaplib", "python", "curl")),
        application="IMAPS",
        malicious="guess_imap",
        tcp_ports=(IMAPS,),
    ),
}


def _port(part: Part) -> int:
    return POPS if part.activity == "mail_collect" else IMAPS


# --- servers ---


def serve(part: Part) -> None:
    here, draw = part.scratch, part.draw
    box = here / "mail"
    for folder in ("new", "cur", "tmp"):
        (box / folder).mkdir(parents=True)
    for _ in range(draw.randrange(3, 25)):
        _deliver(box, draw, read=draw.random() < 0.8)
    for path in (box, *box.rglob("*")):
        os.chown(path, _UID, _UID)
    open_to_others(here)
    threading.Thread(target=_deliveries, args=(box, draw), daemon=True).start()
    port = _port(part)
    if part.server == "dovecot":
        run_server(part, ["dovecot", "-F", "-c", str(_config(part, part.address, port, tls=True))], port)
    # Between stunnel and Dovecot the words stay inside the host.
    plain = free_port()
    with running(["dovecot", "-F", "-c", str(_config(part, "127.0.0.1", plain, tls=False))]):
        wait_for_port("127.0.0.1", plain)
        tls_front.front(part, "stunnel", port, plain)


def _config(part: Part, address: str, port: int, tls: bool) -> Path:
    here = part.scratch
    kind = "pop3" if part.activity == "mail_collect" else "imap"
    (here / "users").write_text(
        f"{_USER}:{{PLAIN}}{_PASSWORD}:{_UID}:{_UID}::{here}::userdb_mail=maildir:{here}/mail\n"
    )
    config = here / "dovecot.conf"
    config.write_text(
        f"""base_dir = {here}/run
state_dir = {here}/state
log_path = {here}/log
protocols = {kind}
listen = {address}
ssl = {"required" if tls else "no"}
ssl_cert = <{part.secrets}/cert.pem
ssl_key = <{part.secrets}/key.pem
disable_plaintext_auth = no
default_internal_user = root
default_internal_group = root
default_login_user = {pwd.getpwuid(65534).pw_name}
first_valid_uid = {_UID}
mail_location = maildir:{here}/mail
passdb {{
  driver = passwd-file
  args = {here}/users
}}
userdb {{
  driver = passwd-file
  args = {here}/users
}}
service {kind}-login {{
  chroot =
  inet_listener {kind} {{
    port = {0 if tls else port}
  }}
  inet_listener {kind}s {{
    port = {port if tls else 0}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
    )
    return config


def _deliver(box: Path, draw: Random, read: bool = False) -> None:
    """A mail as a delivery agent leaves it: written aside, then moved in whole."""
    name = f"{draw.getrandbits(64):x}.lab"
    body = base64.encodebytes(os.urandom(int(behaviour.mail(draw) * 0.73))).decode()
    received = "".join(
        f"Received: from {draw.getrandbits(48):x}.lab.test by mx{n}.lab.test with ESMTPS\n" for n in range(3)
    )
    file = box / "tmp" / name
    file.write_text(
        f"{received}From: Bob <bob@lab.test>\nTo: ann@lab.test\nSubject: {draw.getrandbits(96):x}\nDate: Mon, "
        f"05 Jan 2026 10:00:00 +0000\nMessage-ID: <{name}@lab.test>\nMIME-Version: 1.0\nContent-Type: "
        f"text/plain; charset=us-ascii\n\n{body}"
    )
    os.chown(file, _UID, _UID)
    file.rename(box / ("cur" if read else "new") / (name + (":2,S" if read else "")))


def _deliveries(box: Path, draw: Random) -> None:
    waiting = threading.Event()
    while not waiting.wait(behaviour.mail_wait(draw)):
        _deliver(box, draw)


# --- clients ---


def act(part: Part) -> None:
    if part.activity == "guess_imap":
        check(part)
    kind = {"mail_idle": _READ, "mail_collect": _FETCH, "guess_imap": _GUESS}[part.activity]
    side_by_side(part, [lambda: kind[part.client](part)])


def _run(part: Part, words: list[str], codes: tuple[int, ...] = (0,)) -> None:
    """A client program's one turn; cut off at the end."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, words_of_error = process.communicate(timeout=max(0.5, part.left() + 0.5))
    except subprocess.TimeoutExpired:
        process.terminate()
        return
    if process.returncode not in codes:
        raise ChildProcessError(f"ended with {process.returncode}: {words_of_error.decode(errors='replace')[-300:]}")


def _unverified() -> ssl.SSLContext:
    return ssl._create_unverified_context()


def _imaplib(part: Part) -> None:
    import imaplib

    draw = part.draw
    connection = imaplib.IMAP4_SSL(part.name, IMAPS, ssl_context=_unverified(), timeout=60)
    connection.login(_USER, _PASSWORD)
    connection.list()
    connection.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")
    connection.select("INBOX")
    connection.fetch("1:*", "(UID FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])")
    while part.left() > 0.5:
        _, found = connection.search(None, "UNSEEN")
        for number in found[0].split()[:3]:
            connection.fetch(number, "(ENVELOPE BODYSTRUCTURE)")
            if not part.pause(draw.expovariate(1 / 1.5)):
                return
            connection.fetch(number, "(BODY[])")
            connection.store(number, "+FLAGS", r"(\Seen)")
            if not part.pause(min(behaviour.think(draw), 8)):
                break
        # What imaplib of before Python 3.14 lacks: IDLE.
        tag = connection._new_tag()
        connection.send(tag + b" IDLE\r\n")
        connection.readline()
        select.select([connection.sock], [], [], max(0.0, min(part.left(), 120)))
        connection.send(b"DONE\r\n")
        while not connection.readline().startswith(tag):
            pass
    connection.logout()


def _imapclient(part: Part) -> None:
    from imapclient import IMAPClient

    draw = part.draw
    with IMAPClient(part.name, IMAPS, ssl_context=_unverified(), timeout=60) as client:
        client.login(_USER, _PASSWORD)
        client.list_folders()
        client.select_folder("INBOX")
        known = client.search()
        client.fetch(known, ["FLAGS", "ENVELOPE", "RFC822.SIZE"])
        while part.left() > 0.5:
            for uid in client.search("UNSEEN")[:4]:
                client.fetch([uid], ["BODY.PEEK[]"])
                if draw.random() < 0.7:
                    client.add_flags([uid], [rb"\Seen"])
                elif draw.random() < 0.5:
                    client.delete_messages([uid])
                    client.expunge()
                if not part.pause(min(behaviour.think(draw), 8)):
                    break
            if draw.random() < 0.15:
                # A draft of one's own, kept on the server.
                client.append(
                    "INBOX",
                    b"Subject: draft\r\n\r\n" + base64.encodebytes(os.urandom(draw.randrange(200, 4000))),
                    [rb"\Seen"],
                )
            client.idle()
            client.idle_check(timeout=max(0.1, min(part.left(), 120)))
            client.idle_done()


def _mutt(part: Part) -> None:
    """A person at a terminal: the mail program's own IMAP, with its TLS by GnuTLS."""
    draw, here = part.draw, part.scratch
    (here / "muttrc").write_text(
        f"""set imap_user={_USER} imap_pass={_PASSWORD} imap_keepalive=30 imap_idle=yes imap_check_subscribed=no
set certificate_file={part.secrets}/cert.pem ssl_ca_certificates_file={part.secrets}/ca.pem
set ssl_verify_host=no ssl_verify_dates=no ssl_usesystemcerts=no
set folder=imaps://{part.name}/ spoolfile=imaps://{part.name}/INBOX mail_check=5 timeout=5 header_cache=
set record= postponed= quit=yes delete=no wait_key=no tmpdir={here} move=no
"""
    )
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["mutt", "-n", "-F", str(here / "muttrc")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "vt100"},
        start_new_session=True,
    )
    os.close(theirs)

    def drain() -> None:
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass

    threading.Thread(target=drain, daemon=True).start()
    if not part.pause(3 + draw.random() * 2):
        return
    while process.poll() is None:
        # Open a mail, page through it, back to the list, on to the next; at times ask for new ones.
        for key in draw.choice((b"\ri", b"\r  i", b"j", b"\r i", b"k\ri", b"$")):
            os.write(ours, bytes([key]))
            if not part.pause(0.5 + draw.expovariate(1 / 1.5)):
                process.terminate()
                return
        if not part.pause(min(behaviour.think(draw), 10)):
            process.terminate()
            return
    if part.left() > 1:
        raise ChildProcessError("the program ended by itself")


def _mbsync(part: Part) -> None:
    draw, here = part.draw, part.scratch
    (here / "local").mkdir()
    # By itself it insists on the server's name; and this way GnuTLS is seen too.
    config = here / "mbsyncrc"
    config.write_text(
        f"""IMAPStore far
Tunnel "gnutls-cli --insecure --logfile=/dev/null -p {IMAPS} {part.name}"
User {_USER}
Pass {_PASSWORD}
SSLType None
AuthMechs LOGIN

MaildirStore near
Path {here}/local/
Inbox {here}/local/inbox

Channel mail
Far :far:
Near :near:
Sync All
Create Near
SyncState *
"""
    )
    while True:
        _run(part, ["mbsync", "-q", "-c", str(config), "-a"])
        if not part.pause(2 + draw.expovariate(1 / 5)):
            return


def _fetchmail(part: Part) -> None:
    """IMAP: one connection that waits in IDLE. POP: a connection each few seconds."""
    imap = part.activity == "mail_idle"
    config = part.scratch / "fetchmailrc"
    config.write_text(
        f"poll {part.address} protocol {'IMAP' if imap else 'POP3'} port {_port(part)} auth password user {_USER} "
        f'password {_PASSWORD} ssl no sslcertck {"idle" if imap else ""} keep mda "cat >/dev/null"\n'
    )
    config.chmod(0o600)
    # "Nothing new" is 1.
    words = [
        "fetchmail",
        "-N",
        "-s",
        "-f",
        str(config),
        "-i",
        str(part.scratch / "seen"),
        "--pidfile",
        str(part.scratch / "pid"),
    ]
    while True:
        _run(part, words, codes=(0, 1))
        if not part.pause(2 + part.draw.expovariate(1 / 5)):
            return


def _curl(part: Part) -> None:
    draw = part.draw
    base = ["curl", "-sk", "--max-time", "60", "-u", f"{_USER}:{_PASSWORD}"]
    if part.activity == "mail_collect":
        while True:
            _run(
                part,
                [
                    *base,
                    f"pop3s://{part.name}/",
                    "-o",
                    "/dev/null",
                    f"pop3s://{part.name}/{draw.randrange(1, 4)}",
                    "-o",
                    "/dev/null",
                ],
            )
            if not part.pause(2 + draw.expovariate(1 / 5)):
                return
    box = f"imaps://{part.name}/INBOX"
    while True:
        words = [*base, f"{box}?UNSEEN", "-o", "/dev/null"]
        for _ in range(draw.randrange(1, 4)):
            words += [f"{box};MAILINDEX={draw.randrange(1, 5)}", "-o", "/dev/null"]
        _run(part, words)
        if not part.pause(2 + draw.expovariate(1 / 5)):
            return


def _poplib(part: Part) -> None:
    import poplib

    draw = part.draw
    known: set[bytes] = set()
    while True:
        client = poplib.POP3_SSL(part.name, POPS, timeout=60, context=_unverified())
        client.user(_USER)
        client.pass_(_PASSWORD)
        client.stat()
        for line in client.uidl()[1]:
            number, uid = line.split()
            if uid not in known:
                known.add(uid)
                client.retr(int(number))
                if draw.random() < 0.5:
                    client.dele(int(number))
        client.quit()
        if not part.pause(2 + draw.expovariate(1 / 5)):
            return


def _getmail(part: Part) -> None:
    here = part.scratch
    (here / "getmail").mkdir(mode=0o700)
    (here / "getmail" / "getmailrc").write_text(
        f"""[retriever]
type = SimplePOP3SSLRetriever
server = {part.address}
username = {_USER}
password = {_PASSWORD}
[destination]
type = MDA_external
path = /bin/true
allow_root_commands = true
[options]
delete = {"true" if part.draw.random() < 0.5 else "false"}
read_all = false
verbose = 0
"""
    )
    while True:
        _run(part, ["getmail", "--getmaildir", str(here / "getmail")])
        if not part.pause(2 + part.draw.expovariate(1 / 6)):
            return


def _mpop(part: Part) -> None:
    config = part.scratch / "mpoprc"
    keep = "on" if part.draw.random() < 0.5 else "off"
    config.write_text(
        f"""account default
host {part.address}
port {POPS}
user {_USER}
password {_PASSWORD}
auth user
tls on
tls_starttls off
tls_certcheck off
keep {keep}
uidls_file {part.scratch}/uidls
delivery mda "cat >/dev/null"
"""
    )
    config.chmod(0o600)
    while True:
        _run(part, ["mpop", "-Q", "-C", str(config)])
        if not part.pause(2 + part.draw.expovariate(1 / 6)):
            return


def _guesses(part: Part, one: Callable[[Random], object], most: int) -> None:
    draw = part.draw
    for _ in range(most):
        with contextlib.suppress(OSError):
            one(draw)
        if not part.pause(draw.uniform(0.1, 0.8)):
            return


def _guess_imaplib(part: Part) -> None:
    import imaplib

    def one(draw: Random) -> None:
        connection = imaplib.IMAP4_SSL(part.name, IMAPS, ssl_context=_unverified(), timeout=30)
        for _ in range(draw.randrange(1, 4)):
            with contextlib.suppress(imaplib.IMAP4.error):
                connection.login(_USER, f"{draw.getrandbits(40):x}")
        with contextlib.suppress(imaplib.IMAP4.error):
            connection.logout()

    _guesses(part, one, 60)


def _guess_python(part: Part) -> None:
    """Several connections at once, as guessing programs hold."""

    def one(draw: Random) -> None:
        connection = _unverified().wrap_socket(
            socket.create_connection((part.address, IMAPS), 30), server_hostname=part.name
        )
        connection.recv(4096)
        for turn in range(draw.randrange(1, 5)):
            connection.sendall(f"a{turn} LOGIN {_USER} {draw.getrandbits(48):x}\r\n".encode())
            if not connection.recv(4096):
                break
        connection.close()

    side_by_side(part, [lambda: _guesses(part, one, 20)] * 3)


def _guess_curl(part: Part) -> None:
    _guesses(
        part,
        lambda draw: _run(
            part,
            [
                "curl",
                "-sk",
                "--max-time",
                "30",
                "-u",
                f"{_USER}:{draw.getrandbits(40):x}",
                f"imaps://{part.name}/INBOX",
            ],
            codes=(0, 67),
        ),
        40,
    )


_READ = {
    "imaplib": _imaplib,
    "imapclient": _imapclient,
    "mutt": _mutt,
    "mbsync": _mbsync,
    "fetchmail": _fetchmail,
    "curl": _curl,
}
_FETCH = {"poplib": _poplib, "mpop": _mpop, "getmail": _getmail, "fetchmail": _fetchmail, "curl": _curl}
_GUESS = {"imaplib": _guess_imaplib, "python": _guess_python, "curl": _guess_curl}
