"""SSH: a person's shell, copies (cat over a session, sftp, rsync), and password guessing's shape.

Servers OpenSSH and Dropbear, clients OpenSSH and Dropbear's; keys made for this capture alone. The lab's server runs
only what the lab sends: `cat`, rsync and sftp in a scratch directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

PORT = 22

_BOTH = pairs(("openssh", "dropbear"), ("openssh", "dbclient"))

ACTIVITIES = {
    "shell": Activity("remote_access", _BOTH, "SSH", tcp_ports=(PORT,)),
    "rsync": Activity("file_transfer", pairs(("openssh", "dropbear"), ("rsync",)), "SSH", tcp_ports=(PORT,)),
    "copy": Activity("file_transfer", _BOTH, "SSH", tcp_ports=(PORT,)),
    "sftp": Activity("file_transfer", ("openssh/sftp",), "SSH", tcp_ports=(PORT,)),
    "guess_ssh": Activity("remote_access", _BOTH, "SSH", malicious="guess_ssh", tcp_ports=(PORT,)),
}


def server_command(server: str, part: Part) -> list[str]:
    """Starts `server` (openssh, dropbear) at the part's address; also for what goes through SSH."""
    here = part.scratch
    if server == "openssh":
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        config = here / "sshd_config"
        config.write_text(
            f"""ListenAddress {part.address}:{PORT}
HostKey {part.secrets}/host
AuthorizedKeysFile {part.secrets}/user.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxAuthTries 6
Subsystem sftp internal-sftp
"""
        )
        return [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", str(config)]
    home = here / "home"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    home.chmod(0o700)
    shutil.copy(part.secrets / "user.pub", home / ".ssh" / "authorized_keys")
    # Dropbear knows only the home directory's keys: it gets a home of its own, in a mount namespace of its own.
    return [
        "unshare",
        "-m",
        "--propagation",
        "private",
        "sh",
        "-c",
        'mount --bind "$0" "$1" && shift && exec "$@"',
        str(home),
        os.path.expanduser("~root"),
        "dropbear",
        "-F",
        "-s",
        "-p",
        f"{part.address}:{PORT}",
        "-r",
        str(part.secrets / "host.dropbear"),
        "-P",
        str(here / "pid"),
    ]


def serve(part: Part) -> None:
    run_server(part, server_command(part.server, part), PORT)


def client_command(client: str, part: Part, *words: str, target: bool = True) -> list[str]:
    """Runs `client` (openssh, dbclient) with options and a command, at the part's address; also for what goes through
    SSH.
    """
    if client == "dbclient":
        command = ["dbclient", "-y", "-y", "-i", str(part.secrets / "user.dropbear"), "-p", str(PORT)]
    else:
        command = [
            "ssh",
            "-F",
            "none",
            "-i",
            str(part.secrets / "user"),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "LogLevel=ERROR",
            "-p",
            str(PORT),
        ]
    options = [word for word in words if word.startswith("-")]
    rest = [word for word in words if not word.startswith("-")]
    return [*command, *options, *([f"root@{part.address}"] if target else []), *rest]


def _client(part: Part, *words: str, target: bool = True) -> list[str]:
    return client_command(part.client, part, *words, target=target)


def act(part: Part) -> None:
    {"shell": _shell, "copy": _copy, "sftp": _sftp, "rsync": _rsync, "guess_ssh": _guess}[part.activity](part)


def _shell(part: Part) -> None:
    """Keys one by one, each echoed; after a line the answer. `cat` on a terminal echoes as a shell's editor does."""
    draw = part.draw
    ours, theirs = os.openpty()
    shell = subprocess.Popen(
        _client(part, "-tt" if part.client == "openssh" else "-t", "cat"), stdin=theirs, stdout=subprocess.DEVNULL
    )
    os.close(theirs)
    column = 0
    while part.left() > 0:
        column += 1
        end = draw.random() < 0.06 or column > 60
        os.write(ours, b"\r" if end else bytes([draw.choice(b"abcdefghijklmnopqrstuvwxyz ./-")]))
        if end:
            column = 0
        if not part.pause(min(draw.expovariate(1 / 3), 12.0) if end else behaviour.keystroke(draw)):
            break
        if shell.poll() is not None:
            sys.exit("the shell's connection broke")
    os.write(ours, b"\r\x04")
    _end(shell)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(3)
    except subprocess.TimeoutExpired:
        process.terminate()


def _transfers(part: Part, one: Callable[[bytes], subprocess.Popen[bytes]]) -> None:
    """Four of them; `one` begins the transfer of some bytes. A program that reads them is fed."""
    draw = part.draw
    for _ in range(4):
        data = os.urandom(behaviour.file(draw))
        process = one(data)
        if process.stdin:
            threading.Thread(target=_feed, args=(process, data), daemon=True).start()
        try:
            code = process.wait(max(0.5, part.left() + 1))
        except subprocess.TimeoutExpired:
            process.terminate()
            return
        if code:
            sys.exit(f"{part.client} ended with {code}")
        if not part.pause(draw.expovariate(1 / 3)):
            return


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin, "a pipe"
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:
        pass


def _copy(part: Part) -> None:
    _transfers(
        part,
        lambda data: subprocess.Popen(
            _client(part, "cat >/dev/null"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        ),
    )


def _sftp(part: Part) -> None:
    def one(data: bytes) -> subprocess.Popen[bytes]:
        file, batch = part.scratch / "file", part.scratch / "batch"
        file.write_bytes(data)
        # The server's copy is a scratch file too: hosts share the machine's file system.
        copy = part.scratch / "copy"
        batch.write_text(f"ls {part.scratch}\nput {file} {copy}\nget {copy} {file}\nrm {copy}\n")
        words = _client(part, target=False)[1:]
        words[words.index("-p")] = "-P"
        return subprocess.Popen(
            ["sftp", *words, "-q", "-b", str(batch), f"root@{part.address}"], stdin=None, stdout=subprocess.DEVNULL
        )

    _transfers(part, one)


def _rsync(part: Part) -> None:
    def one(data: bytes) -> subprocess.Popen[bytes]:
        folder = part.scratch / "folder"
        folder.mkdir(exist_ok=True)
        for number in range(6):
            (folder / str(number)).write_bytes(data[number * len(data) // 6 : (number + 1) * len(data) // 6])
        shell = " ".join(_client(part, target=False))
        return subprocess.Popen(
            ["rsync", "-r", "-e", shell, f"{folder}/", f"root@{part.address}:{part.scratch}/copy/"],
            stdout=subprocess.DEVNULL,
        )

    _transfers(part, one)


def _guess(part: Part) -> None:
    """Log-ins that fail, as a guesser's do on a server that wants keys: at most 60."""
    draw = part.draw
    wrong = part.scratch / "wrong"
    for _ in range(60):
        for file in (wrong, wrong.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        if part.client == "dbclient":
            command = ["dropbearkey", "-t", "ed25519", "-f", str(wrong)]
        else:
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        words = _client(part, "true")
        words[words.index("-i") + 1] = str(wrong)
        subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        if not part.pause(draw.uniform(0.05, 0.6)):
            return
