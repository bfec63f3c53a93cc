"""Programs and libraries that fetch over HTTPS, all driven alike: get() as a page's objects, fetch() for a body,
post().
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NoReturn, Protocol, cast

from .https_servers import PORT
from .part import Part

#: Over TCP. Chromium (its own module) has get() alone.
CLIENTS = ("curl", "curl-h1", "urllib", "httpx", "requests", "aiohttp", "wget", "node", "primp")
#: Those that send large bodies up; primp gives up on them over HTTP/2 ("stream closed while waiting for capacity").
UP_CLIENTS = tuple(name for name in CLIENTS if name != "primp")
_PATIENCE = 120


class Client(Protocol):
    """What an activity asks with."""

    def get(self, paths: list[str]) -> None:
        """The first, then the others as this program would."""

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        """A body, or bytes first to last of it."""

    def post(self, path: str, size: int) -> None:
        """Random bytes."""


def client(part: Part) -> Client:
    """The part's `client`."""
    # Of what these two lack (spans; all but get) no activity makes use.
    if part.client == "aioquic":
        from .http3 import QuicClient

        return cast("Client", QuicClient(part, PORT))
    if part.client in ("chromium", "chromium-h3"):
        from .browser import Browser

        return cast("Client", Browser(part))
    kinds: dict[str, Callable[[Part], Client]] = {
        "curl": _Curl,
        "curl-h1": _Curl,
        "urllib": _Urllib,
        "requests": _Requests,
        "httpx": _Httpx,
        "aiohttp": _Aiohttp,
        "wget": _Wget,
        "node": _Node,
        "primp": _Primp,
    }
    return kinds[part.client](part)


def _span(span: tuple[int, int] | None) -> dict[str, str]:
    return {"Range": f"bytes={span[0]}-{span[1]}"} if span else {}


class _Curl:
    """A program of its own for each call; what one call asks for shares connections."""

    def __init__(self, part: Part) -> None:
        self.base = f"https://{part.name}"
        self.version = "--http1.1" if part.client == "curl-h1" else "--http2"

    def _run(self, words: list[str], body: bytes | None = None) -> bytes:
        return subprocess.run(
            ["curl", "-sk", "--max-time", str(_PATIENCE), self.version, *words],
            input=body,
            stdout=subprocess.PIPE,
            check=False,
        ).stdout

    def get(self, paths: list[str]) -> None:
        words = ["-Z", "--parallel-max", "6"]
        for path in paths:
            words += ["-o", "/dev/null", self.base + path]
        self._run(words)

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self._run([*(["-r", f"{span[0]}-{span[1]}"] if span else []), self.base + path])

    def post(self, path: str, size: int) -> None:
        self._run(["--data-binary", "@-", self.base + path], os.urandom(size))


class _Wget:
    """As curl, but GnuTLS and one object after the other over one connection."""

    def __init__(self, part: Part) -> None:
        self.base, self.scratch = f"https://{part.name}", part.scratch

    def _run(self, words: list[str]) -> bytes:
        return subprocess.run(
            ["wget", "-q", "--no-check-certificate", "--no-hsts", "-t", "1", "-T", str(_PATIENCE), "-O", "-", *words],
            stdout=subprocess.PIPE,
            check=False,
        ).stdout

    def get(self, paths: list[str]) -> None:
        self._run([self.base + path for path in paths])

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self._run([f"--header={name}: {value}" for name, value in _span(span).items()] + [self.base + path])

    def post(self, path: str, size: int) -> None:
        body = self.scratch / "body"
        body.write_bytes(os.urandom(size))
        self._run([f"--post-file={body}", self.base + path])


class _Urllib:
    """One connection per request, a browser's six at a time."""

    def __init__(self, part: Part) -> None:
        self.base, self.context = f"https://{part.name}", ssl._create_unverified_context()

    def _open(self, path: str, body: bytes | None = None, span: tuple[int, int] | None = None) -> bytes:
        import urllib.error
        import urllib.request

        asked = urllib.request.Request(self.base + path, body, _span(span))
        try:
            with urllib.request.urlopen(asked, timeout=_PATIENCE, context=self.context) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as answer:
            return answer.read()

    def get(self, paths: list[str]) -> None:
        self._open(paths[0])
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self._open, paths[1:]))

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self._open(path, span=span)

    def post(self, path: str, size: int) -> None:
        self._open(path, os.urandom(size))


class _Requests:
    """One connection that lasts, one object after the other."""

    def __init__(self, part: Part) -> None:
        import requests
        import urllib3

        urllib3.disable_warnings()
        # A server may have closed an idle connection when the next request comes: then a new one is made.
        again = requests.adapters.HTTPAdapter(max_retries=urllib3.Retry(3, allowed_methods=None))
        self.base, self.session = f"https://{part.name}", requests.Session()
        # REQUESTS_CA_BUNDLE in the environment would win over `verify`.
        self.session.verify = self.session.trust_env = False
        self.session.mount("https://", again)

    def get(self, paths: list[str]) -> None:
        for path in paths:
            self.fetch(path)

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self.session.get(self.base + path, headers=_span(span), timeout=_PATIENCE).content

    def post(self, path: str, size: int) -> None:
        self.session.post(self.base + path, os.urandom(size), timeout=_PATIENCE)


class _Httpx:
    """One HTTP/2 connection with six streams at a time."""

    def __init__(self, part: Part) -> None:
        import httpx

        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(base_url=f"https://{part.name}", http2=True, verify=False, timeout=_PATIENCE)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> bytes:
        import httpx

        try:
            return (await self.client.request(method, path, headers=headers, content=content)).content
        except httpx.RemoteProtocolError:
            # As with requests: an idle connection may have been closed.
            return (await self.client.request(method, path, headers=headers, content=content)).content

    def get(self, paths: list[str]) -> None:
        async def all_of_them() -> None:
            await self._ask("GET", paths[0])
            for start in range(1, len(paths), 6):
                await asyncio.gather(*(self._ask("GET", path) for path in paths[start : start + 6]))

        self.loop.run_until_complete(all_of_them())

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self.loop.run_until_complete(self._ask("GET", path, headers=_span(span)))

    def post(self, path: str, size: int) -> None:
        self.loop.run_until_complete(self._ask("POST", path, content=os.urandom(size)))


class _Aiohttp:
    """Up to six connections that last, as a browser has them over HTTP/1.1."""

    def __init__(self, part: Part) -> None:
        import aiohttp

        self.base, self.loop = f"https://{part.name}", asyncio.new_event_loop()

        async def make() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=False, limit=6), timeout=aiohttp.ClientTimeout(_PATIENCE)
            )

        self.session = self.loop.run_until_complete(make())

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, span: tuple[int, int] | None = None
    ) -> bytes:
        import aiohttp

        async def once() -> bytes:
            async with self.session.request(method, self.base + path, data=body, headers=_span(span)) as answer:
                return await answer.read()

        try:
            return await once()
        except aiohttp.ClientConnectionError:
            # As with requests: the server may have closed an idle connection, which shows only in use.
            return await once()

    def get(self, paths: list[str]) -> None:
        async def all_of_them() -> None:
            await self._ask("GET", paths[0])
            await asyncio.gather(*(self._ask("GET", path) for path in paths[1:]))

        self.loop.run_until_complete(all_of_them())

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self.loop.run_until_complete(self._ask("GET", path, span=span))

    def post(self, path: str, size: int) -> None:
        self.loop.run_until_complete(self._ask("POST", path, os.urandom(size)))


class _Primp:
    """A Rust library whose TLS greets as Chrome's or Firefox's does; one connection that lasts."""

    def __init__(self, part: Part) -> None:
        import primp

        self.base = f"https://{part.name}"
        kind = part.draw.choice(("chrome", "firefox"))
        self._new = partial(primp.Client, impersonate=kind, verify=False, timeout=_PATIENCE)
        self.client = self._new()

    def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> bytes:
        import primp

        try:
            return self.client.request(method, self.base + path, headers=headers, content=content).content
        except primp.RequestError:
            # As with requests: an idle connection may have been closed. And one client in 25 never looks into
            # /etc/hosts.
            self.client = self._new()
            return self.client.request(method, self.base + path, headers=headers, content=content).content

    def get(self, paths: list[str]) -> None:
        self.fetch(paths[0])
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self.fetch, paths[1:]))

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self._ask("GET", path, headers=_span(span))

    def post(self, path: str, size: int) -> None:
        self._ask("POST", path, content=os.urandom(size))


class _Node:
    """Node.js's fetch (undici), which stays; a request a line, answered by a length and as many bytes."""

    def __init__(self, part: Part) -> None:
        self.process = subprocess.Popen(
            ["node", "-e", _NODE, f"https://{part.name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "NODE_TLS_REJECT_UNAUTHORIZED": "0"},
        )

    def _ask(self, **words: object) -> bytes:
        assert self.process.stdin and self.process.stdout, "both are pipes"
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        head = self.process.stdout.read(4)
        if len(head) < 4:
            raise OSError("node ended")
        return self.process.stdout.read(struct.unpack(">I", head)[0])

    def get(self, paths: list[str]) -> None:
        self._ask(paths=paths)

    def fetch(self, path: str, span: tuple[int, int] | None = None) -> bytes:
        return self._ask(paths=[path], headers=_span(span))

    def post(self, path: str, size: int) -> None:
        self._ask(paths=[path], size=size)


# The first alone, then six at a time: by itself undici would open a connection for each.
_NODE = """const base = process.argv[1];
const ask = async (path, headers, size) => Buffer.from(await (await fetch(base + path,
  size === undefined ? {headers} : {method: "POST", body: require("crypto").randomBytes(size)})).arrayBuffer());
let turn = Promise.resolve();
const serve = async ({paths, headers, size}) => {
  let body = Buffer.alloc(0);
  try {
    body = await ask(paths.shift(), headers, size);
    await Promise.all([1, 2, 3, 4, 5, 6].map(async () => { while (paths.length) await ask(paths.shift()); }));
  } catch (error) {}
  const head = Buffer.alloc(4); head.writeUInt32BE(body.length);
  process.stdout.write(Buffer.concat([head, body])); };
require("readline").createInterface({input: process.stdin}).on("line", line => {
  turn = turn.then(() => serve(JSON.parse(line))); });"""


def drive(part: Part, play: Callable[[Part, Client], None]) -> NoReturn:
    """Run `play` with the part's client until it or the part's time ends, then end the process."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            play(part, client(part))
        except Exception as error:  # noqa: BLE001 - each library fails in its own way; it is told below
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
