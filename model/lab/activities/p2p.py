"""Files shared among peers: BitTorrent swarms of several seeders and one leecher, and Syncthing's folders.

The seeders listen at ports of their own at the activity's address, a small tracker beside them tells the leecher so;
DHT, local discovery and port mapping are off. Rates are held to what a home's line gives, so that a capture stays small.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

from ..activity import Activity, pairs
from ..part import Part
from ..serving import wait_for_port

_TRACKER, _FIRST = 6969, 51413
_PIECE = 64 * 1024
_PEERS = ("libtorrent", "transmission", "aria2")

ACTIVITIES = {
    "bittorrent": Activity("p2p", pairs(_PEERS, _PEERS), application="BitTorrent", any_tunnel=False),
}


def _settings(part: Part) -> dict:
    """What both sides know of the swarm."""
    draw = Random(f"swarm {part.seed}")
    return {
        "size": int(min(draw.lognormvariate(15.0, 1.0), 24_000_000)) // _PIECE * _PIECE + draw.randrange(1, _PIECE),
        "seeders": draw.choice((1, 2, 3)),
        # kB/s in all, shared by the seeders.
        "rate": draw.choice((80, 150, 300, 600)),
        "encrypted": draw.random() < 0.5,
        "utp": draw.random() < 0.5,
        "content": draw.getrandbits(64),
        "name": f"lab-{draw.randrange(1 << 20):05x}.bin",
    }


def _bencode(value) -> bytes:
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, str):
        return _bencode(value.encode())
    if isinstance(value, list):
        return b"l" + b"".join(map(_bencode, value)) + b"e"
    return b"d" + b"".join(_bencode(key) + _bencode(value[key]) for key in sorted(value)) + b"e"


def _torrent(part: Part, settings: dict) -> tuple[bytes, bytes]:
    """The torrent file and the content: the same on both sides, from the seed."""
    content = Random(settings["content"]).randbytes(settings["size"])
    pieces = b"".join(hashlib.sha1(content[at : at + _PIECE]).digest() for at in range(0, len(content), _PIECE))
    info = {"length": len(content), "name": settings["name"], "piece length": _PIECE, "pieces": pieces, "private": 1}
    return _bencode({"announce": f"http://{part.address}:{_TRACKER}/announce", "info": info}), content


def _ports(settings: dict) -> list[int]:
    return [_FIRST + number for number in range(settings["seeders"])]


def _track(part: Part, settings: dict) -> None:
    """A tracker that knows the seeders and tells everybody of them."""
    # Seeders are told of nobody: who they'd find would be themselves.
    peers = b"".join(socket.inet_aton(part.address) + struct.pack(">H", port) for port in _ports(settings))

    class Tracker(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            known = b"" if self.client_address[0] == part.address or "left=0&" in self.path else peers
            body = _bencode({"interval": 1800, "complete": settings["seeders"], "incomplete": 1, "peers": known})
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    threading.Thread(target=ThreadingHTTPServer((part.address, _TRACKER), Tracker).serve_forever, daemon=True).start()


def _aria2(folder, torrent, port: int, address: str, settings: dict, up: int, seeding: bool) -> list[str]:
    return ["aria2c", f"--dir={folder}", f"--listen-port={port}", f"--interface={address}", "--enable-dht=false",
            "--bt-enable-lpd=false", "--enable-peer-exchange=false", "--seed-ratio=0", f"--max-upload-limit={up}K",
            f"--bt-require-crypto={'true' if settings['encrypted'] else 'false'}",
            f"--bt-min-crypto-level={'arc4' if settings['encrypted'] else 'plain'}", "--disable-ipv6=true", "--quiet=true",
            "--no-conf=true", "--file-allocation=none", "--check-integrity=" + ("true" if seeding else "false"),
            "--bt-hash-check-seed=true", "--enable-dht6=false", "--follow-torrent=mem", str(torrent)]


def _transmission(folder, torrent, port: int, address: str, settings: dict, up: int) -> list[str]:
    home = folder / "transmission"
    home.mkdir(parents=True)
    (home / "settings.json").write_text(json.dumps({
        "bind-address-ipv4": address, "peer-port": port, "peer-port-random-on-start": False, "port-forwarding-enabled": False,
        "dht-enabled": False, "lpd-enabled": False, "pex-enabled": False, "utp-enabled": settings["utp"], "rpc-enabled": False,
        "encryption": 2 if settings["encrypted"] else 0, "speed-limit-up": up, "speed-limit-up-enabled": True,
        "download-dir": str(folder), "incomplete-dir-enabled": False, "watch-dir": str(folder / "watch"),
        "watch-dir-enabled": True, "ratio-limit-enabled": False, "idle-seeding-limit-enabled": False, "cache-size-mb": 1,
        "preallocation": 0, "trash-original-torrent-files": False,
    }))
    (folder / "watch").mkdir()
    (folder / "watch" / "lab.torrent").write_bytes(torrent.read_bytes())
    return ["transmission-daemon", "-f", "-g", str(home), "--log-level=error"]


def _libtorrent(folder, torrent, port: int, address: str, settings: dict, up: int):
    import libtorrent

    encrypted = libtorrent.enc_policy.forced if settings["encrypted"] else libtorrent.enc_policy.disabled
    session = libtorrent.session({
        "listen_interfaces": f"{address}:{port}", "outgoing_interfaces": "", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "out_enc_policy": int(encrypted), "in_enc_policy": int(encrypted),
        "enable_outgoing_utp": settings["utp"], "enable_incoming_utp": True, "enable_outgoing_tcp": not settings["utp"],
        "enable_incoming_tcp": True, "upload_rate_limit": up * 1024, "allow_multiple_connections_per_ip": True,
        "rate_limit_ip_overhead": False,
    })
    made = libtorrent.add_torrent_params()
    made.ti, made.save_path = libtorrent.torrent_info(str(torrent)), str(folder)
    # Peers at the same address are wanted here: limits by address class are off.
    session.set_peer_class_filter(libtorrent.ip_filter())
    return session, session.add_torrent(made)


def serve(part: Part) -> None:
    settings = _settings(part)
    torrent_bytes, content = _torrent(part, settings)
    _track(part, settings)
    with contextlib.ExitStack() as stack:
        kept = []
        for number, port in enumerate(_ports(settings)):
            folder = part.scratch / f"seed{number}"
            folder.mkdir()
            torrent = folder / "lab.torrent"
            torrent.write_bytes(torrent_bytes)
            (folder / settings["name"]).write_bytes(content)
            up = max(20, settings["rate"] // settings["seeders"])
            if part.server == "libtorrent":
                kept.append(_libtorrent(folder, torrent, port, part.address, settings, up))
            else:
                command = (_aria2(folder, torrent, port, part.address, settings, up, True) if part.server == "aria2"
                           else _transmission(folder, torrent, port, part.address, settings, up))
                stack.enter_context(_program(command))
        for port in _ports(settings):
            wait_for_port(part.address, port, 15)
        # What is there is read and hashed before anybody asks for it.
        time.sleep(2)
        part.ready()
        while True:
            time.sleep(1)


@contextlib.contextmanager
def _program(command: list[str]):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()


def act(part: Part) -> None:
    settings = _settings(part)
    torrent = part.scratch / "lab.torrent"
    torrent.write_bytes(_torrent(part, settings)[0])
    folder = part.scratch / "files"
    folder.mkdir()
    port = _FIRST + 100 + part.draw.randrange(5000)
    own = _own_address()
    if part.client == "libtorrent":
        kept = _libtorrent(folder, torrent, port, own, settings, 50)
        part.pause(part.left())
        del kept
    else:
        command = (_aria2(folder, torrent, port, own, settings, 50, False) if part.client == "aria2"
                   else _transmission(folder, torrent, port, own, settings, 50))
        with _program(command) as process:
            part.pause(part.left())
            if process.poll() not in (None, 0):
                sys.exit(f"{part.client} ended")
    os._exit(0)


def _own_address() -> str:
    """The host's own address in the lab."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("10.77.255.254", 9))
        return one.getsockname()[0]
