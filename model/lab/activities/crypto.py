"""Mining: a pool's protocol (Stratum v1, and the Monero miners' JSON-RPC), open, over TLS, and hidden behind port 443.

The pool and the miners are the lab's own and compute nothing: fields and order of messages are the protocol's, hashes
are random bytes. How often jobs and shares come was chosen as what is usual, not measured.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Mapping
from random import Random
from typing import Any

from .. import behaviour, tls_front, tls_pipe
from ..activity import Activity, pairs
from ..part import Part

PLAIN, TLS, HIDDEN = 3333, 3334, 443

_STACKS = ("python", "openssl", "gnutls", "node", "socat")
# The server's name says what ends TLS before the pool; pool-plain has none.
_BOTH = (*pairs(("pool-tls", "stunnel"), _STACKS), "pool-plain/python")

ACTIVITIES = {
    "mining_bitcoin": Activity("crypto_currency", _BOTH, application="Mining", tcp_ports=(PLAIN, TLS)),
    "mining_monero": Activity("crypto_currency", _BOTH, application="Mining", tcp_ports=(PLAIN, TLS)),
    # Shapes only: what a miner that hides sends, through a TLS proxy at the web's port and throttled.
    "hidden_mining": Activity(
        "crypto_currency",
        pairs(("nginx-stream", "stunnel"), _STACKS),
        application="Mining",
        malicious="hidden_mining",
        tcp_ports=(HIDDEN,),
    ),
}


def _port(part: Part) -> int:
    return HIDDEN if part.activity == "hidden_mining" else PLAIN if part.server == "pool-plain" else TLS


def _is_monero(part: Part) -> bool:
    """Hidden miners mostly mine Monero, as it needs no special hardware; how many is a guess."""
    if part.activity == "hidden_mining":
        return Random(part.seed + 3).random() < 0.8
    return part.activity == "mining_monero"


def _hex(count: int) -> str:
    return os.urandom(count).hex()


# --- the pool ---


class _Pool(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    context: ssl.SSLContext | None = None
    part: Part

    # `request` is a TCP server's, a socket.
    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().finish_request(
                self.context.wrap_socket(request, server_side=True) if self.context else request, client_address
            )
        except OSError:
            pass


class _Miner(socketserver.StreamRequestHandler):
    """One miner's connection: answers each line, and between them sends jobs and difficulties at times of its own."""

    server: _Pool

    def handle(self) -> None:
        part = self.server.part
        draw = Random(part.seed + 5)
        self.monero, self.lock, self.height = _is_monero(part), threading.Lock(), draw.randrange(800_000, 900_000)
        # Merkle branches: as many as the block's transactions have levels.
        self.branches = draw.randrange(9, 13)
        begun = threading.Event()
        threading.Thread(target=self._jobs, args=(draw, begun), daemon=True).start()
        for line in self.rfile:
            try:
                asked = json.loads(line)
            except ValueError:
                return
            self._answer(asked, draw, begun)

    def say(self, message: Mapping[str, object]) -> None:
        with self.lock:
            self.wfile.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _answer(self, asked: dict[str, Any], draw: Random, begun: threading.Event) -> None:
        method, number = asked.get("method"), asked.get("id")
        if self.monero:
            result: dict[str, object] = {"status": "KEEPALIVED" if method == "keepalived" else "OK"}
            if method == "login":
                result = {
                    "id": _hex(16),
                    "job": self._job(draw),
                    "extensions": ["algo", "nicehash", "connect", "tls", "keepalive"],
                    "status": "OK",
                }
                begun.set()
            self.say({"id": number, "jsonrpc": "2.0", "error": None, "result": result})
        elif method == "mining.subscribe":
            self.say(
                {
                    "id": number,
                    "error": None,
                    "result": [[["mining.set_difficulty", _hex(4)], ["mining.notify", _hex(4)]], _hex(4), 8],
                }
            )
        elif method == "mining.configure":
            self.say(
                {"id": number, "error": None, "result": {"version-rolling": True, "version-rolling.mask": "1fffe000"}}
            )
        else:
            # One share in fifty comes too late for its job.
            stale = method == "mining.submit" and draw.random() < 0.02
            self.say(
                {
                    "id": number,
                    "result": None if stale else True,
                    "error": [21, "Job not found", None] if stale else None,
                }
            )
            if method == "mining.authorize":
                self._set_difficulty(draw)
                self.say(self._job(draw))
                begun.set()

    def _set_difficulty(self, draw: Random) -> None:
        self.say(
            {"id": None, "method": "mining.set_difficulty", "params": [draw.choice((512, 2048, 8192, 65536, 500000))]}
        )

    def _job(self, draw: Random, clean: bool = True) -> dict[str, object]:
        if self.monero:
            return {
                "blob": _hex(76),
                "job_id": _hex(8),
                "target": _hex(4),
                "algo": "rx/0",
                "height": self.height,
                "seed_hash": _hex(32),
            }
        return {
            "id": None,
            "method": "mining.notify",
            "params": [
                _hex(4),
                _hex(32),
                _hex(draw.randrange(54, 62)),
                _hex(draw.randrange(90, 140)),
                [_hex(32) for _ in range(self.branches)],
                "20000000",
                "1703255b",
                f"{int(time.time()):x}",
                clean,
            ],
        }

    def _jobs(self, draw: Random, begun: threading.Event) -> None:
        """Pools send a job each 30 to 60 s and for each block; a quarter of that here, as captures are short."""
        begun.wait()
        interval = draw.uniform(7, 15)
        try:
            while True:
                time.sleep(behaviour.beacon(interval, 0.15, draw))
                clean = draw.random() < 0.2
                self.height += clean
                if not self.monero and draw.random() < 0.15:
                    self._set_difficulty(draw)
                job = self._job(draw, clean)
                self.say({"jsonrpc": "2.0", "method": "job", "params": job} if self.monero else job)
        except (OSError, ValueError):
            pass


def serve(part: Part) -> None:
    port = _port(part)
    if part.server in ("pool-tls", "pool-plain"):
        pool = _Pool((part.address, port), _Miner)
        pool.part = part
        if part.server == "pool-tls":
            pool.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            pool.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        part.ready()
        pool.serve_forever()
    # Between the TLS proxy and the pool the words stay inside the host.
    pool = _Pool(("127.0.0.1", 0), _Miner)
    pool.part = part
    threading.Thread(target=pool.serve_forever, daemon=True).start()
    tls_front.front(part, part.server, port, pool.server_address[1])


# --- the miner ---


def act(part: Part) -> None:
    draw, monero = part.draw, _is_monero(part)
    if part.server == "pool-plain":
        raw = socket.create_connection((part.address, PLAIN), 20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.settimeout(None)
        pipe = tls_pipe.Pipe(raw.sendall, raw.makefile("rb"), raw.close)
    else:
        pipe = tls_pipe.connect(part, part.client, _port(part))
    lock, number, last = threading.Lock(), iter(range(1, 1_000_000)), [time.monotonic()]
    agent = draw.choice(
        ("XMRig/6.21.0 (Linux x86_64) libuv/1.44.2 gcc/11.4.0", "xmr-stak/2.10.8", "SRBMiner-MULTI/2.4.7")
        if monero
        else ("cgminer/4.12.1", "bmminer/1.0.0", "bfgminer/5.5.0", "NiceHash/1.0.0")
    )
    worker = f"{_hex(47)}" if monero else f"bc1q{_hex(19)}.{draw.choice(('rig1', 'worker', 'x'))}"

    def say(method: str, params: object) -> None:
        with lock:
            last[0] = time.monotonic()
            message = {"id": next(number), **({"jsonrpc": "2.0"} if monero else {}), "method": method, "params": params}
            pipe.send(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def hear() -> bytes:
        line = pipe.file.readline()
        if not line:
            raise ConnectionError("the pool ended the connection")
        return line

    if monero:
        say(
            "login",
            {
                "login": worker,
                "pass": "x",
                "agent": agent,
                "algo": ["rx/0", "rx/wow", "cn/r", "cn-pico", "argon2/chukwa"],
            },
        )
        hear()
    else:
        if draw.random() < 0.6:
            say(
                "mining.configure",
                [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}],
            )
            hear()
        say("mining.subscribe", [agent])
        hear()
        say("mining.authorize", [worker, "x"])
        hear()

    def read() -> None:
        try:
            while pipe.file.readline():
                pass
        except (OSError, ValueError):
            pass

    threading.Thread(target=read, daemon=True).start()
    # Pools set the difficulty so that shares come each 5 to 20 s; a quarter of that here. One that hides is throttled.
    mean = draw.uniform(1.2, 5) * (2.5 if part.activity == "hidden_mining" else 1)
    job = _hex(8)
    while True:
        gap = draw.expovariate(1 / mean)
        # XMRig keeps a silent connection alive after 60 s; a quarter of that here.
        while monero and gap > (quiet := 15 - (time.monotonic() - last[0])):
            if not part.pause(max(0.0, quiet)):
                break
            gap -= max(0.0, quiet)
            say("keepalived", {"id": job})
        if not part.pause(gap):
            break
        if monero:
            say("submit", {"id": _hex(16), "job_id": job, "nonce": _hex(4), "result": _hex(32), "algo": "rx/0"})
        else:
            say(
                "mining.submit",
                [worker, _hex(4), _hex(8), f"{int(time.time()):x}", _hex(4), "00c00000"][
                    : 6 if draw.random() < 0.6 else 5
                ],
            )
    pipe.close()
