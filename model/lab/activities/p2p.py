"""Files shared among peers: BitTorrent swarms of several seeders and one leecher, and Syncthing's folders.

The seeders listen at ports of their own at the activity's address, a small tracker beside them tells the leecher so;
DHT, local discovery and port mapping are off. Rates are held to what a home's line gives, so that a capture stays
small.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypedDict
from xml.etree import ElementTree

from .. import behaviour
from ..activity import Activity, pairs
from ..part import Part
from ..serving import running, wait_for_port

if TYPE_CHECKING:
    import libtorrent

_TRACKER, _FIRST = 6969, 51413
_PIECE = 64 * 1024
_PEERS = ("libtorrent", "transmission", "aria2")

ACTIVITIES = {
    "bittorrent": Activity("p2p", pairs(_PEERS, _PEERS), application="BitTorrent"),
    "syncthing": Activity("p2p", ("syncthing/syncthing",), application="Syncthing"),
}


class _Swarm(TypedDict):
    """What both sides know of it."""

    size: int
    seeders: int
    rate: int
    encrypted: bool
    utp: bool
    brought: float
    content: int
    name: str


def _settings(part: Part) -> _Swarm:
    draw = Random(f"swarm {part.seed}")
    return {
        "size": int(min(draw.lognormvariate(15.0, 1.0), 24_000_000)) // _PIECE * _PIECE + draw.randrange(1, _PIECE),
        "seeders": draw.choice((1, 2, 3)),
        # kB/s in all, shared by the seeders.
        "rate": draw.choice((80, 150, 300, 600)),
        "encrypted": draw.random() < 0.5,
        # aria2 knows no uTP, and Transmission's gets stuck with libtorrent's.
        "utp": draw.random() < 0.6
        and "aria2" not in (part.server, part.client)
        and (part.server, part.client) != ("libtorrent", "transmission"),
        # The share of the file, from its end, that only the leecher has: then pieces go both ways.
        "brought": draw.choice((0.0, 0.0, 0.3, 0.6)),
        "content": draw.getrandbits(64),
        "name": f"lab-{draw.randrange(1 << 20):05x}.bin",
    }


def _bencode(value: object) -> bytes:
    """BitTorrent's encoding of numbers, text, bytes, lists and dicts of these."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, str):
        return _bencode(value.encode())
    if isinstance(value, list):
        return b"l" + b"".join(map(_bencode, value)) + b"e"
    assert isinstance(value, dict)
    return b"d" + b"".join(_bencode(key) + _bencode(value[key]) for key in sorted(value)) + b"e"


def _torrent(part: Part, settings: _Swarm) -> tuple[bytes, bytes]:
    """The torrent file and the content: the same on both sides, from the seed."""
    content = Random(settings["content"]).randbytes(settings["size"])
    pieces = b"".join(hashlib.sha1(content[at : at + _PIECE]).digest() for at in range(0, len(content), _PIECE))
    info = {"length": len(content), "name": settings["name"], "piece length": _PIECE, "pieces": pieces, "private": 1}
    return _bencode({"announce": f"http://{part.address}:{_TRACKER}/announce", "info": info}), content


def _ports(settings: _Swarm) -> list[int]:
    return [_FIRST + number for number in range(settings["seeders"])]


def _track(part: Part, settings: _Swarm) -> None:
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


def _aria2(folder: Path, torrent: Path, port: int, address: str, settings: _Swarm, up: int) -> list[str]:
    return [
        "aria2c",
        f"--dir={folder}",
        f"--listen-port={port}",
        f"--interface={address}",
        "--enable-dht=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--seed-ratio=0",
        f"--max-upload-limit={up}K",
        f"--bt-require-crypto={'true' if settings['encrypted'] else 'false'}",
        f"--bt-min-crypto-level={'arc4' if settings['encrypted'] else 'plain'}",
        "--disable-ipv6=true",
        "--quiet=true",
        "--no-conf=true",
        "--file-allocation=none",
        "--check-integrity=true",
        "--bt-hash-check-seed=true",
        "--enable-dht6=false",
        "--allow-overwrite=true",
        "--follow-torrent=mem",
        str(torrent),
    ]


def _transmission(folder: Path, torrent: Path, port: int, address: str, settings: _Swarm, up: int) -> list[str]:
    home = folder / "transmission"
    home.mkdir(parents=True)
    (home / "settings.json").write_text(
        json.dumps(
            {
                "bind-address-ipv4": address,
                "peer-port": port,
                "peer-port-random-on-start": False,
                "port-forwarding-enabled": False,
                "dht-enabled": False,
                "lpd-enabled": False,
                "pex-enabled": False,
                "utp-enabled": settings["utp"],
                "rpc-enabled": False,
                "encryption": 2 if settings["encrypted"] else 0,
                "speed-limit-up": up,
                "speed-limit-up-enabled": True,
                "download-dir": str(folder),
                "incomplete-dir-enabled": False,
                "watch-dir": str(folder / "watch"),
                "watch-dir-enabled": True,
                "ratio-limit-enabled": False,
                "idle-seeding-limit-enabled": False,
                "cache-size-mb": 1,
                "preallocation": 0,
                "trash-original-torrent-files": False,
            }
        )
    )
    (folder / "watch").mkdir()
    (folder / "watch" / "lab.torrent").write_bytes(torrent.read_bytes())
    return ["transmission-daemon", "-f", "-g", str(home)]


def _libtorrent(
    part: Part, folder: Path, torrent: Path, port: int, address: str, settings: _Swarm, up: int
) -> tuple[libtorrent.session, libtorrent.torrent_handle]:
    import libtorrent

    encrypted = libtorrent.enc_policy.forced if settings["encrypted"] else libtorrent.enc_policy.disabled
    session = libtorrent.session(
        {
            "listen_interfaces": f"{address}:{port}",
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "out_enc_policy": int(encrypted),
            "in_enc_policy": int(encrypted),
            "enable_outgoing_utp": settings["utp"],
            "enable_incoming_utp": True,
            "enable_outgoing_tcp": not settings["utp"],
            "enable_incoming_tcp": True,
            "upload_rate_limit": up * 1024,
            "allow_multiple_connections_per_ip": True,
            "rate_limit_ip_overhead": False,
        }
    )
    made = libtorrent.add_torrent_params()
    made.ti, made.save_path = libtorrent.torrent_info(str(torrent)), str(folder)
    # Private addresses are free of its limits unless all are put into the one class that has them.
    limited = libtorrent.ip_filter()
    limited.add_rule("0.0.0.0", "255.255.255.255", 1 << libtorrent.session.global_peer_class_id)
    session.set_peer_class_filter(limited)
    return session, session.add_torrent(made)


def serve(part: Part) -> None:
    if part.activity == "syncthing":
        _serve_folder(part)
    settings = _settings(part)
    torrent_bytes, content = _torrent(part, settings)
    kept_here = len(content) - int(settings["brought"] * len(content))
    _track(part, settings)
    with contextlib.ExitStack() as stack:
        kept = []
        for number, port in enumerate(_ports(settings)):
            folder = part.scratch / f"seed{number}"
            folder.mkdir()
            torrent = folder / "lab.torrent"
            torrent.write_bytes(torrent_bytes)
            (folder / settings["name"]).write_bytes(content[:kept_here] + bytes(len(content) - kept_here))
            up = max(20, settings["rate"] // settings["seeders"])
            if part.server == "libtorrent":
                kept.append(_libtorrent(part, folder, torrent, port, part.address, settings, up))
            else:
                command = (
                    _aria2(folder, torrent, port, part.address, settings, up)
                    if part.server == "aria2"
                    else _transmission(folder, torrent, port, part.address, settings, up)
                )
                stack.enter_context(running(command))
        for port in _ports(settings):
            wait_for_port(part.address, port, 15)
        # What is there is read and hashed before anybody asks for it.
        time.sleep(2)
        part.ready()
        while True:
            time.sleep(1)


def act(part: Part) -> None:
    if part.activity == "syncthing":
        _share_folder(part)
        return
    settings = _settings(part)
    torrent = part.scratch / "lab.torrent"
    torrent_bytes, content = _torrent(part, settings)
    torrent.write_bytes(torrent_bytes)
    folder = part.scratch / "files"
    folder.mkdir()
    if brought := int(settings["brought"] * len(content)):
        (folder / settings["name"]).write_bytes(bytes(len(content) - brought) + content[-brought:])
    port = _FIRST + 100 + part.draw.randrange(5000)
    own = _own_address(part)
    if part.client == "libtorrent":
        kept = _libtorrent(part, folder, torrent, port, own, settings, 50)
        part.pause(part.left())
        del kept
    else:
        command = (
            _aria2(folder, torrent, port, own, settings, 50)
            if part.client == "aria2"
            else _transmission(folder, torrent, port, own, settings, 50)
        )
        with running(command) as process:
            part.pause(part.left())
            if process.poll() not in (None, 0):
                sys.exit(f"{part.client} ended")
    os._exit(0)


def _own_address(part: Part) -> str:
    """The host's own address where the peers are: on the link, or inside a tunnel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((part.address, 9))
        return str(one.getsockname()[0])


# --- Syncthing ---


def _device(home: Path) -> str:
    """Make a device's key and give its identity."""
    subprocess.run(
        ["syncthing", "generate", f"--home={home}", "--no-default-folder"], check=True, stdout=subprocess.DEVNULL
    )
    device = ElementTree.parse(home / "config.xml").find("device")
    assert device is not None, "syncthing's own configuration has one"
    return device.attrib["id"]


def _syncthing(home: Path, folder: Path, own: str, other: str, listen: str, target: str, rate: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / ".stfolder").mkdir(exist_ok=True)
    off = (
        "globalAnnounceEnabled",
        "localAnnounceEnabled",
        "relaysEnabled",
        "natEnabled",
        "crashReportingEnabled",
        "startBrowser",
        "announceLANAddresses",
    )
    (home / "config.xml").write_text(
        f"""<configuration version="36">
<folder id="lab" path="{folder}" type="sendreceive" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
<device id="{own}"></device><device id="{other}"></device></folder>
<device id="{own}"><address>dynamic</address></device>
<device id="{other}" compression="metadata"><address>{target}</address></device>
<gui enabled="false"></gui>
<options><listenAddress>{listen}</listenAddress>{"".join(f"<{name}>false</{name}>" for name in off)}
<maxSendKbps>{rate}</maxSendKbps><limitBandwidthInLan>true</limitBandwidthInLan><reconnectionIntervalS>5</reconnectionIntervalS>
<urAccepted>-1</urAccepted><autoUpgradeIntervalH>0</autoUpgradeIntervalH><stunKeepaliveStartS>0</stunKeepaliveStartS></options>
</configuration>
"""
    )
    return ["syncthing", "serve", f"--home={home}", "--no-browser", "--no-restart", "--no-upgrade"]


def _link(part: Part) -> tuple[str, Random]:
    draw = Random(f"folder {part.seed}")
    return draw.choice(("tcp", "tcp", "quic")), draw


def _change(part: Part, folder: Path, draw: Random) -> None:
    """A person saves, a camera puts photos, now and then a file goes."""
    while True:
        for _ in range(draw.choice((1, 1, 1, 3))):
            (folder / f"{draw.randrange(1 << 20):05x}.bin").write_bytes(os.urandom(behaviour.file(draw) // 4))
        if draw.random() < 0.1:
            for gone in list(folder.glob("*.bin"))[:1]:
                gone.unlink()
        if not part.pause(2 + draw.expovariate(1 / 8)):
            return


def _serve_folder(part: Part) -> None:
    kind, draw = _link(part)
    # The client takes its key from here: each must know the other's identity before they meet.
    ours, theirs = part.scratch / "ours", part.scratch / "theirs"
    own, other = _device(ours), _device(theirs)
    (part.scratch / "identities.json").write_text(json.dumps([own, other]))
    folder = part.scratch / "files"
    folder.mkdir()
    for number in range(draw.randrange(12)):
        (folder / f"old{number}.bin").write_bytes(os.urandom(behaviour.file(draw) // 4))
    listen = f"{kind}://{part.address}:22000"
    with running(_syncthing(ours, folder, own, other, listen, "dynamic", draw.choice((300, 800, 2000)))) as process:
        if kind == "tcp":
            wait_for_port(part.address, 22000)
        else:
            time.sleep(4)
        part.ready()
        threading.Thread(target=_change, args=(part, folder, draw), daemon=True).start()
        process.wait()


def _share_folder(part: Part) -> None:
    kind, draw = _link(part)
    draw.seed(part.seed + 1)
    given, home, folder = (
        part.scratch.with_name(part.scratch.name.replace("-act", "-serve")),
        part.scratch / "home",
        part.scratch / "files",
    )
    shutil.copytree(given / "theirs", home)
    other, own = json.loads((given / "identities.json").read_text())
    folder.mkdir()
    # What it listens at no one is told; QUIC speaks from it.
    listen = f"{kind}://{_own_address(part)}:{20_000 + draw.randrange(10_000)}"
    with running(
        _syncthing(home, folder, own, other, listen, f"{kind}://{part.address}:22000", draw.choice((100, 300, 800)))
    ) as process:
        part.pause(4)
        _change(part, folder, draw)
        if process.poll() is not None:
            sys.exit("syncthing ended")
