"""Mail fetched over TLS from Dovecot: IMAP with IDLE (993) and POP3 (995); new mails arrive while one waits."""

from __future__ import annotations

import base64
import imaplib
import os
import poplib
import shutil
import ssl
import subprocess
import threading
from email.message import EmailMessage
from pathlib import Path

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

IMAPS, POP3S = 993, 995
_USER, _PASSWORD = "ann", "not-secret"
# Dovecot reads no mail as root.
_NOBODY = 65534

ACTIVITIES = {
    "mail_idle": Activity("email", pairs(("dovecot",), ("imaplib", "curl", "mbsync")), application="IMAPS", tcp_ports=(IMAPS,)),
    "mail_collect": Activity("email", pairs(("dovecot",), ("poplib", "curl")), application="POPS", tcp_ports=(POP3S,)),
}


def serve(part: Part) -> None:
    here, port = part.scratch, POP3S if part.activity == "mail_collect" else IMAPS
    box = here / "mail" / "new"
    for name in ("new", "cur", "tmp"):
        (here / "mail" / name).mkdir(parents=True)
    (here / "users").write_text(f"{_USER}:{{PLAIN}}{_PASSWORD}:::::\n")
    names = ("imap", "imaps", IMAPS) if port == IMAPS else ("pop3", "pop3s", POP3S)
    (here / "dovecot.conf").write_text(
        f"""protocols = {names[0]}
base_dir = {here}/run
state_dir = {here}/state
log_path = {here}/log
listen = {part.address}
default_internal_user = root
default_internal_group = root
default_login_user = nobody
first_valid_uid = 0
ssl = required
ssl_cert = <{part.secrets}/cert.pem
ssl_key = <{part.secrets}/key.pem
mail_location = maildir:{here}/mail
passdb {{
  driver = passwd-file
  args = {here}/users
}}
userdb {{
  driver = static
  args = uid={_NOBODY} gid={_NOBODY} home={here}/mail
}}
service {names[0]}-login {{
  chroot =
  inet_listener {names[0]} {{
    port = 0
  }}
  inet_listener {names[1]} {{
    port = {names[2]}
  }}
}}
service anvil {{
  chroot =
}}
"""
    )
    for folder in (here / "mail", *(here / "mail").iterdir()):
        os.chown(folder, _NOBODY, _NOBODY)
    # Those who are not root must get at what is below.
    for folder in (here, here.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    threading.Thread(target=_deliver, args=(part, box), daemon=True).start()
    run_server(part, [shutil.which("dovecot") or "dovecot", "-F", "-c", str(here / "dovecot.conf")], port)


def _mail(size: int) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "bob@lab.test", "ann@lab.test", "lab"
    mail.set_content(base64.encodebytes(os.urandom(int(size * 0.73))).decode())
    return bytes(mail)


def _deliver(part: Part, box: Path) -> None:
    """Some mails are there already; the others arrive one after the other."""
    draw = part.draw
    draw.seed(part.seed + 1)
    for number in range(400):
        # Into place whole, as a delivery agent does.
        new = box.parent / "tmp" / f"{1_600_000_000 + number}.{number}.lab"
        new.write_bytes(_mail(behaviour.mail(draw)))
        os.chown(new, _NOBODY, _NOBODY)
        new.rename(box / new.name)
        if number >= 4 and not part.pause(2 + draw.expovariate(1 / 10)):
            return


def act(part: Part) -> None:
    {"imaplib": _idle, "poplib": _collect, "curl": _curl, "mbsync": _mbsync}[part.client](part)


def _curl(part: Part) -> None:
    """A program that looks each half minute or so: every time a connection of its own."""
    draw = part.draw
    scheme = "pop3s" if part.activity == "mail_collect" else "imaps"
    base = ["curl", "-sk", "--max-time", "60", "--user", f"{_USER}:{_PASSWORD}"]
    while True:
        listing = f"{scheme}://{part.address}/" + ("" if scheme == "pop3s" else "INBOX")
        subprocess.run([*base, listing, *(["-X", "SEARCH ALL"] if scheme == "imaps" else [])], stdout=subprocess.DEVNULL,
                       check=True)
        number = 1 + draw.randrange(4)
        one = f"{listing}{number}" if scheme == "pop3s" else f"{listing};MAILINDEX={number}"
        subprocess.run([*base, one], stdout=subprocess.DEVNULL, check=True)
        if not part.pause(4 + draw.expovariate(1 / 5)):
            return


def _mbsync(part: Part) -> None:
    draw, copy = part.draw, part.scratch / "copy"
    copy.mkdir()
    config = part.scratch / "mbsyncrc"
    # TLS by OpenSSL's client: mbsync's own wants a certificate for the address.
    config.write_text(
        f"""IMAPAccount lab
User {_USER}
Pass {_PASSWORD}
SSLType None
AuthMechs LOGIN
Tunnel "openssl s_client -quiet -verify_quiet -connect {part.address}:{IMAPS} 2>/dev/null"

IMAPStore far
Account lab

MaildirStore near
Path {copy}/
Inbox {copy}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Create Near
SyncState *
"""
    )
    while True:
        subprocess.run(["mbsync", "-q", "-c", str(config), "all"], stdout=subprocess.DEVNULL, check=True)
        if not part.pause(4 + draw.expovariate(1 / 6)):
            return


def _idle(part: Part) -> None:
    """Headers of what is there, one mail read now and then, IDLE in between."""
    draw = part.draw
    client = imaplib.IMAP4_SSL(part.address, IMAPS, ssl_context=ssl._create_unverified_context(), timeout=60)
    client.login(_USER, _PASSWORD)
    client.select()
    client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])")
    client.fetch("1", "(BODY[])")
    while part.left() > 1:
        client.send(b"L1 IDLE\r\n")
        client.sock.settimeout(max(0.5, min(part.left(), 4 + draw.expovariate(1 / 6))))
        lines = 0
        try:
            # A new mail is two lines: EXISTS and RECENT.
            while lines < 3 and client.readline():
                lines += 1
        except OSError:
            # imaplib's reader can't go on after a timeout: as after a sleep, the program connects anew.
            client.sock.settimeout(20)
            if part.left() < 2:
                break
            client = imaplib.IMAP4_SSL(part.address, IMAPS, ssl_context=ssl._create_unverified_context(), timeout=60)
            client.login(_USER, _PASSWORD)
            client.select()
            continue
        client.sock.settimeout(30)
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"L1 "):
            pass
        newest = client.select()[1][0].decode()
        client.fetch(newest, "(BODY[])")
        if not part.pause(draw.expovariate(1 / 2)):
            break
    os._exit(0)


def _collect(part: Part) -> None:
    draw = part.draw
    while True:
        client = poplib.POP3_SSL(part.address, POP3S, context=ssl._create_unverified_context(), timeout=60)
        client.user(_USER)
        client.pass_(_PASSWORD)
        waiting = len(client.list()[1])
        for number in range(1, min(waiting, 6) + 1):
            client.retr(number)
            if draw.random() < 0.7:
                client.dele(number)
        client.quit()
        if not part.pause(4 + draw.expovariate(1 / 6)):
            return
