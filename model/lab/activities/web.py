"""HTTPS in all its uses: pages, video ladders, files, and the shapes of beacons, exfiltration, guessing and slow requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .. import behaviour, https_servers
from ..activity import Activity, pairs
from ..part import Part
from ..serving import run_server

PORT = https_servers.PORT
SEGMENT_SECONDS = 4.0
_PAGES, _SEGMENTS, _TASKS = 8, 12, 12

_SERVERS = (*https_servers.SERVERS, "python")
_CLIENTS = ("curl", "curl-h1", "urllib", "httpx", "requests")
_HTTPS = pairs(_SERVERS, _CLIENTS)
_HTTP3 = pairs(("aioquic", "caddy-h3"), ("aioquic",))
# Only the lab's own server takes what is sent up.
_UP = pairs(("python",), _CLIENTS)
_TLS = {"tcp_ports": (PORT,)}

ACTIVITIES = {
    "web": Activity("web", (*_HTTPS, *pairs(_SERVERS, ("chromium",))), **_TLS),
    "web_http3": Activity("web", _HTTP3),
    "streaming": Activity("streaming", _HTTPS, **_TLS),
    "streaming_http3": Activity("streaming", _HTTP3),
    "download": Activity("file_transfer", _HTTPS, **_TLS),
    "upload": Activity("file_transfer", _UP, **_TLS),
    # Shapes only: sizes and times of what such traffic looks like, random bytes, between the lab's own hosts.
    "beacon_https": Activity("web", _HTTPS, malicious="beacon_https", **_TLS),
    "beacon_quic": Activity("web", _HTTP3, malicious="beacon_quic"),
    "exfiltration_burst": Activity("web", _UP, malicious="exfiltration_burst", **_TLS),
    "exfiltration_steady": Activity("web", _UP, malicious="exfiltration_steady", **_TLS),
    "exfiltration_drip": Activity("web", _UP, malicious="exfiltration_drip", **_TLS),
    "guess_https": Activity("web", _HTTPS, malicious="guess_https", **_TLS),
    "slow_http": Activity("web", pairs(_SERVERS, ("python",)), malicious="slow_http", **_TLS),
}


def site(part: Part) -> dict[str, int]:
    """Path -> bytes of all the server has; the client draws the same from the same seed."""
    draw, kind = part.draw, part.activity.removesuffix("_http3")
    if kind == "web":
        return {f"/page{page}/{number or 'index.html'}": size
                for page in range(_PAGES) for number, size in enumerate(behaviour.page(draw))}
    if kind == "streaming":
        return {"/playlist": 900} | {
            f"/video/{rung}/{number}": behaviour.segment(draw, rung, SEGMENT_SECONDS)
            for number in range(_SEGMENTS) for rung in range(len(behaviour.LADDER))
        }
    if kind == "download":
        return {f"/file{number}": behaviour.file(draw) for number in range(4)}
    if kind.startswith("beacon"):
        # Mostly "nothing to do", now and then a task, seldom a module to load.
        return {f"/task{number}": draw.choice((0, 16, 48, 48, 48, 64, 512, 4096, 150_000)) for number in range(_TASKS)}
    return {"/login": 1800}


# --- servers ---


def serve(part: Part) -> None:
    root, files = part.scratch / "site", site(part)
    for path, size in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_document(path, size, files) if file.suffix == ".html" else os.urandom(size))
    own = {"python": _python, "aioquic": _aioquic_server}.get(part.server)
    if own:
        own(part, root)
    else:
        run_server(part, https_servers.command(part, root=root), PORT)


def _document(path: str, size: int, files: dict[str, int]) -> bytes:
    """HTML of that size (or what it takes) that shows the page's other objects."""
    folder = path.rpartition("/")[0]
    text = "<!doctype html><title>lab</title>" + "".join(
        f'<img src="{other}">' for other in files if other.startswith(folder + "/") and other != path)
    return (text + "<!-- " + os.urandom(max(0, size - len(text) - 9) // 2).hex() + " -->").encode()


def _python(part: Part, root: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            file = root / self.path.lstrip("/")
            known = file.is_file()
            body = file.read_bytes() if known else b"not here"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "text/html" if file.suffix == ".html" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            left = int(self.headers.get("Content-Length", 0))
            while left > 0:
                got = self.rfile.read(min(left, 65536))
                if not got:
                    break
                left -= len(got)
            self.send_response(403 if self.path == "/login" else 200)
            self.send_header("Content-Length", "24")
            self.end_headers()
            self.wfile.write(os.urandom(24))

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request, client_address) -> None:
            # The handshake belongs into the connection's own thread: a slow client must not hold up the others.
            request.settimeout(60)
            with contextlib.suppress(OSError):
                super().finish_request(context.wrap_socket(request, server_side=True), client_address)

        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    server = Server((part.address, PORT), Handler)
    part.ready()
    server.serve_forever()


def _aioquic_server(part: Part, root: Path) -> None:
    from ..http3 import serve_quic

    serve_quic(part, root, PORT)


# --- clients ---


class _Curl:
    def __init__(self, part: Part) -> None:
        self.base = f"https://{part.address}"
        self.version = "--http1.1" if part.client == "curl-h1" else "--http2"

    def _run(self, words: list[str], body: bytes | None = None) -> None:
        subprocess.run(["curl", "-sk", "--max-time", "120", self.version, *words], input=body,
                       stdout=subprocess.DEVNULL, check=False)

    def get(self, paths: list[str]) -> None:
        words = ["-Z", "--parallel-max", "6"]
        for path in paths:
            words += ["-o", "/dev/null", self.base + path]
        self._run(words)

    def post(self, path: str, size: int) -> None:
        self._run(["--data-binary", "@-", self.base + path], os.urandom(size))


class _Chromium:
    """A browser, started anew for each page: headless, with nothing of its own to ask the network for."""

    def __init__(self, part: Part) -> None:
        self.base = f"https://{part.address}"
        self.command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
            "--disable-dev-shm-usage", "--ignore-certificate-errors", f"--user-data-dir={part.scratch}/chromium", "--dump-dom",
        ]

    def get(self, paths: list[str]) -> None:
        subprocess.run([*self.command, self.base + paths[0]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


class _Urllib:
    """One connection per request, a browser's six at a time."""

    def __init__(self, part: Part) -> None:
        self.base, self.context = f"https://{part.address}", ssl._create_unverified_context()

    def _open(self, path: str, body: bytes | None = None) -> None:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(self.base + path, body, 120, context=self.context) as answer:
                answer.read()
        except urllib.error.HTTPError as answer:
            answer.read()

    def get(self, paths: list[str]) -> None:
        self._open(paths[0])
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self._open, paths[1:]))

    def post(self, path: str, size: int) -> None:
        self._open(path, os.urandom(size))


class _Requests:
    def __init__(self, part: Part) -> None:
        import requests
        import urllib3

        urllib3.disable_warnings()
        # A server may have closed an idle connection when the next request comes: then a new one is made.
        again = requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(3, allowed_methods=None))
        self.base, self.session = f"https://{part.address}", requests.Session()
        # REQUESTS_CA_BUNDLE in the environment would win over `verify`.
        self.session.verify = self.session.trust_env = False
        self.session.mount("https://", again)

    def get(self, paths: list[str]) -> None:
        for path in paths:
            self.session.get(self.base + path, timeout=120)

    def post(self, path: str, size: int) -> None:
        self.session.post(self.base + path, os.urandom(size), timeout=120)


class _Httpx:
    """One HTTP/2 connection with six streams at a time."""

    def __init__(self, part: Part) -> None:
        import httpx

        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(base_url=f"https://{part.address}", http2=True, verify=False, timeout=120)

    def get(self, paths: list[str]) -> None:
        async def all_of_them() -> None:
            await self.client.get(paths[0])
            for start in range(1, len(paths), 6):
                await asyncio.gather(*map(self.client.get, paths[start : start + 6]))

        self.loop.run_until_complete(all_of_them())

    def post(self, path: str, size: int) -> None:
        self.loop.run_until_complete(self.client.post(path, content=os.urandom(size)))


def _client(part: Part):
    if part.client == "aioquic":
        from ..http3 import QuicClient

        return QuicClient(part, PORT)
    made = {"curl": _Curl, "curl-h1": _Curl, "chromium": _Chromium, "urllib": _Urllib, "requests": _Requests, "httpx": _Httpx}
    return made[part.client](part)


def act(part: Part) -> None:
    if part.activity == "slow_http":
        _slow(part)
        return
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _play(part, _client(part))
        except Exception as error:
            failed.append(error)

    played = threading.Thread(target=run, daemon=True)
    played.start()
    # A transfer still under way at the end is cut off, as a person closes a program.
    played.join(max(0.1, part.left() + 0.5))
    if failed:
        print(f"{type(failed[0]).__name__}: {failed[0]}", file=sys.stderr)
    sys.stderr.flush()
    # Near the end a slow link may break a request; earlier, a program does not work.
    os._exit(1 if failed and part.left() > 0.2 * part.seconds else 0)


def _play(part: Part, client) -> None:
    draw = part.draw
    files = site(part)
    draw.seed(part.seed + 1)
    kind = part.activity.removesuffix("_http3")
    if kind == "web":
        while True:
            page = draw.randrange(_PAGES)
            client.get([path for path in files if path.startswith(f"/page{page}/")])
            if not part.pause(behaviour.think(draw)):
                return
    if kind == "streaming":
        _watch(part, client, files)
    elif kind in ("download", "upload"):
        for number in range(4):
            if kind == "download":
                client.get([f"/file{number}"])
            else:
                client.post(f"/upload{number}", behaviour.file(draw))
            if not part.pause(draw.expovariate(1 / 3)):
                return
    elif kind.startswith("beacon"):
        interval, jitter = draw.choice((1.5, 3, 5, 8)), draw.choice((0.0, 0.1, 0.2, 0.5))
        for turn in range(400):
            task = f"/task{turn % _TASKS}"
            client.get([task])
            if files[task] > 64:
                client.post("/result", draw.randrange(64, 40_000))
            if not part.pause(behaviour.beacon(interval, jitter, draw)):
                return
    elif kind == "exfiltration_burst":
        for _ in range(3):
            client.post("/in", int(min(draw.lognormvariate(13.5, 0.8), 6_000_000)))
            if not part.pause(draw.uniform(1, 5)):
                return
    elif kind == "exfiltration_steady":
        for _ in range(400):
            client.post("/in", 32_768)
            if not part.pause(1.0):
                return
    elif kind == "exfiltration_drip":
        for _ in range(200):
            client.post("/in", draw.randrange(200, 1200))
            if not part.pause(draw.expovariate(1 / 4)):
                return
    elif kind == "guess_https":
        for _ in range(150):
            client.post("/login", draw.randrange(30, 60))
            if not part.pause(draw.uniform(0.1, 0.4)):
                return


def _watch(part: Part, client, files: dict[str, int]) -> None:
    """An adaptive player: rung by measured rate with a margin, at most 20 s ahead (after Huang et al. 2014)."""
    import time

    client.get(["/playlist"])
    buffered, rate, number = 0.0, 500e3, 0
    while part.left() > 0:
        fitting = [rung for rung, kbit in enumerate(behaviour.LADDER) if kbit * 1000 < 0.8 * rate]
        path = f"/video/{fitting[-1] if fitting else 0}/{number % _SEGMENTS}"
        started = time.monotonic()
        client.get([path])
        took = max(time.monotonic() - started, 1e-3)
        rate = 0.7 * rate + 0.3 * files[path] * 8 / took
        buffered = max(0.0, buffered - took) + SEGMENT_SECONDS
        number += 1
        if buffered > 20 and not part.pause(buffered - 20 + SEGMENT_SECONDS / 2):
            return
        buffered = min(buffered, 20.0)


def _slow(part: Part) -> None:
    """Requests whose headers come a line at a time: at most 15 connections, to the lab's own server."""
    draw, context = part.draw, ssl._create_unverified_context()
    held = []
    for _ in range(15):
        raw = socket.create_connection((part.address, PORT), 20)
        connection = context.wrap_socket(raw)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n")
        held.append(connection)
    while part.left() > 0:
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"X-%d: %d\r\n" % (draw.randrange(9999), draw.randrange(9999)))
        if not part.pause(draw.uniform(1.5, 3)):
            break
