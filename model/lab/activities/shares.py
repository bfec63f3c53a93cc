"""A folder on another machine, by SMB 3 (Samba, encrypted) or WebDAV (rclone, over HTTPS): browsed, opened, copied,
mirrored.

Clients: smbclient, the smbprotocol library and rclone for SMB; rclone, curl and httpx for WebDAV.
"""

from __future__ import annotations

import os
import subprocess
import threading
from random import Random

from ..activity import Activity, pairs
from ..errands import errands, lay_out, own_file, rest
from ..part import Part
from ..serving import run_server, running
from ..workers import side_by_side

SMB, WEBDAV = 445, 443
_USER, _PASSWORD = "root", "lab-words-only"

ACTIVITIES = {
    "share_smb": Activity(
        "file_transfer",
        pairs(("samba",), ("smbclient", "smbprotocol", "rclone")),
        application="SMBv23",
        tcp_ports=(SMB,),
    ),
    "share_webdav": Activity(
        "file_transfer", pairs(("rclone",), ("rclone", "curl", "httpx")), application="WebDAV", tcp_ports=(WEBDAV,)
    ),
}


# --- servers ---


def serve(part: Part) -> None:
    root = part.scratch / "share"
    lay_out(part, root)
    if part.activity == "share_webdav":
        run_server(
            part,
            [
                "rclone",
                "serve",
                "webdav",
                str(root),
                "--addr",
                f"{part.address}:{WEBDAV}",
                "--cert",
                f"{part.secrets}/cert.pem",
                "--key",
                f"{part.secrets}/key.pem",
                "--config",
                str(part.scratch / "none"),
                "--user",
                _USER,
                "--pass",
                _PASSWORD,
                "--log-file",
                str(part.scratch / "log"),
            ],
            WEBDAV,
        )
    _samba(part)


def _samba(part: Part) -> None:
    here, draw = part.scratch, part.draw
    for name in ("private", "state", "cache", "lock", "run", "rpc"):
        (here / name).mkdir()
    config = here / "smb.conf"
    config.write_text(
        f"""[global]
server role = standalone server
interfaces = {part.address}/255.255.255.0
bind interfaces only = yes
smb ports = {SMB}
disable netbios = yes
load printers = no
printcap name = /dev/null
disable spoolss = yes
private dir = {here}/private
passdb backend = tdbsam:{here}/private/passdb.tdb
state directory = {here}/state
cache directory = {here}/cache
lock directory = {here}/lock
pid directory = {here}/run
ncalrpc dir = {here}/rpc
log file = {here}/log
server min protocol = SMB3
server smb encrypt = required
server smb3 encryption algorithms = {draw.choice(("AES-128-GCM", "AES-128-CCM AES-128-GCM", "AES-256-GCM AES-128-GCM"))}
invalid users =
[share]
path = {here}/share
writable = yes
"""
    )
    subprocess.run(
        ["smbpasswd", "-c", str(config), "-s", "-a", _USER],
        input=f"{_PASSWORD}\n{_PASSWORD}\n".encode(),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    run_server(part, ["smbd", "-F", "--no-process-group", "-s", str(config)], SMB)


# --- clients ---


def act(part: Part) -> None:
    play = {"smbclient": _smbclient, "smbprotocol": _smbprotocol, "rclone": _rclone, "curl": _curl, "httpx": _httpx}[
        part.client
    ]
    side_by_side(part, [lambda: play(part, Random(part.seed + 1))])


def _smbclient(part: Part, draw: Random) -> None:
    command = [
        "smbclient",
        f"//{part.address}/share",
        "-p",
        str(SMB),
        "-U",
        f"{_USER}%{_PASSWORD}",
        "-m",
        "SMB3",
        "--client-protection=encrypt",
        "-s",
        "/dev/null",
    ]
    with running(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin, "a pipe"
        for number, (errand, what) in enumerate(errands(part, draw)):
            if errand == "put":
                line = f"put {own_file(part, 'own.bin', int(what))} incoming/{number}.bin"
            else:
                line = f"ls {what}\\*" if errand == "list" else f"get {what} {part.scratch}/got"
            client.stdin.write(line.encode() + b"\n")
            client.stdin.flush()
            if not rest(part, draw):
                return
            if client.poll() is not None:
                raise ChildProcessError(f"ended with {client.returncode}")


def _smbprotocol(part: Part, draw: Random) -> None:
    import smbclient

    session = {"username": _USER, "password": _PASSWORD, "port": SMB, "encrypt": True}
    smbclient.ClientConfig(require_secure_negotiate=False)
    base = f"\\\\{part.address}\\share\\"
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "list":
            for _ in smbclient.scandir(f"{base}{what}", **session):
                pass
        elif errand == "get":
            with smbclient.open_file(base + str(what).replace("/", "\\"), mode="rb", **session) as file:
                while file.read(1 << 18):
                    pass
        else:
            with smbclient.open_file(base + f"incoming\\{number}.bin", mode="wb", **session) as file:
                file.write(os.urandom(int(what)))
        if not rest(part, draw):
            return


def _rclone(part: Part, draw: Random) -> None:
    """Mirrors folders, up or down, a run each; on a slow link one run may last as long as the activity."""
    hidden = subprocess.run(["rclone", "obscure", _PASSWORD], capture_output=True, text=True, check=True).stdout.strip()
    remote, name = (
        (f":smb,host='{part.address}',user={_USER},pass={hidden}:share/", "smb")
        if part.activity == "share_smb"
        else (f":webdav,url='https://{part.name}/',vendor=other,user={_USER},pass={hidden}:", "webdav")
    )
    common = [
        "--config",
        str(part.scratch / "none"),
        "--no-check-certificate",
        "--transfers",
        str(draw.choice((1, 2, 4))),
        "--retries",
        "1",
        "--log-file",
        str(part.scratch / f"{name}.log"),
    ]
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "list":
            words = ["lsl", remote + str(what)]
        elif errand == "get":
            words = ["copy", remote + str(what), str(part.scratch / f"got{number}")]
        else:
            words = ["copyto", str(own_file(part, "own.bin", int(what))), f"{remote}incoming/{number}.bin"]
        process = subprocess.Popen(["rclone", *words, *common], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        ended = threading.Timer(max(0.1, part.left()), process.terminate)
        ended.start()
        code = process.wait()
        ended.cancel()
        if code and part.left() > 1:
            raise ChildProcessError(f"rclone {words[0]} ended with {code}")
        if not rest(part, draw):
            return


def _curl(part: Part, draw: Random) -> None:
    """Each folder's errands in one run: the program keeps its connection for several files."""
    base = f"https://{part.name}/"
    common = ["-s", "-k", "-u", f"{_USER}:{_PASSWORD}", "-o", "/dev/null", "--max-time", "90"]
    words: list[str] = []
    for number, (errand, what) in enumerate(errands(part, draw)):
        if errand == "list" and words:
            done = subprocess.run(["curl", *words[1:]], stdin=subprocess.DEVNULL, check=False)
            if done.returncode and part.left() > 1:
                raise ChildProcessError(f"curl ended with {done.returncode}")
            words = []
            if not part.pause(0.5 + draw.expovariate(1 / 3)):
                return
        words += ["--next", *common]
        if errand == "put":
            words += ["-T", str(own_file(part, f"{number}.bin", int(what))), f"{base}incoming/{number}.bin"]
        elif errand == "list":
            words += ["-X", "PROPFIND", "-H", "Depth: 1", base + str(what)]
        else:
            words.append(base + str(what))


def _httpx(part: Part, draw: Random) -> None:
    import httpx

    with httpx.Client(
        http2=draw.random() < 0.5, verify=False, auth=(_USER, _PASSWORD), timeout=60, base_url=f"https://{part.name}"
    ) as client:
        for number, (errand, what) in enumerate(errands(part, draw)):
            if errand == "list":
                answer = client.request("PROPFIND", f"/{what}", headers={"Depth": "1"})
            elif errand == "get":
                answer = client.get(f"/{what}")
            else:
                answer = client.put(f"/incoming/{number}.bin", content=os.urandom(int(what)))
            answer.raise_for_status()
            if not rest(part, draw):
                return
