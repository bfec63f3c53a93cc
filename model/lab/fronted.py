"""An HTTPS server that answers what the path asks for, alone or behind a usual web server, and clients of many TLS
stacks.

A path is /STATUS/BYTES/MORE: the answer has that status and so many random bytes. So the shape of any exchange is in
the client's hands, and the server needs no state.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

from . import https_servers, tls_pipe
from .part import Part
from .serving import run_server

if TYPE_CHECKING:
    import aiohttp

PORT = https_servers.PORT
SERVERS = (*https_servers.SERVERS, "python")
CLIENTS = ("curl", "urllib", "requests", "httpx", "aiohttp", "node", "openssl", "gnutls")
_MOST = 4_000_000


class Handler(BaseHTTPRequestHandler):
    protocol_version, timeout = "HTTP/1.1", 60
    # Headers and body in one write, as most servers do: else Nagle's rule would show in each answer.
    wbufsize = 1 << 16

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return ""

    def do_GET(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (got := self.rfile.read(min(left, 65536))):
            left -= len(got)
        words = self.path.split("/")
        status, size = (int(words[1]), min(int(words[2]), _MOST)) if len(words) > 3 else (404, 150)
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="lab"')
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(os.urandom(size))

    do_POST = do_HEAD = do_PUT = do_GET


class _Https(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext

    # `request` is a TCP server's, a socket.
    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(60)
        with contextlib.suppress(OSError):
            super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, *_: object) -> None:
        pass


class _Behind(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 64

    def handle_error(self, *_: object) -> None:
        pass


def serve(part: Part, handler: type[BaseHTTPRequestHandler] | None = None) -> None:
    """Servers: those of SERVERS, by the part's `server`; `handler` answers, if not the usual one."""
    handler = handler or Handler
    if part.server == "python":
        server = _Https((part.address, PORT), handler)
        server.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        part.ready()
        server.serve_forever()
    inside = part.scratch / "inside"
    behind = _Behind(str(inside), handler)
    os.chmod(inside, 0o666)
    threading.Thread(target=behind.serve_forever, daemon=True).start()
    run_server(part, https_servers.command(part, behind=inside), PORT)


# --- clients ---


@dataclass
class _Session:
    """aiohttp's, and the loop that it runs in."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession


class Client:
    """One program that asks: request() returns the status. `keep`: all requests over one connection, else one for
    each.
    """

    def __init__(self, part: Part, keep: bool) -> None:
        self.part, self.keep = part, keep
        #: The library's session or the connection, and what closes it.
        self._made: object = None
        self._close: Callable[[], object] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ask: Callable[[str, str, bytes, dict[str, str]], int] = {
            "curl": self._curl,
            "httpx": self._httpx,
            "requests": self._requests,
            "aiohttp": self._aiohttp,
            "node": self._node,
        }.get(part.client, self._h1)
        self.lock = threading.Lock()

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> int:
        with self.lock:
            try:
                return self._ask(
                    method,
                    path,
                    body,
                    {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Accept": "*/*", **(headers or {})},
                )
            finally:
                if not self.keep:
                    self.close()

    def close(self) -> None:
        if self._close is not None:
            with contextlib.suppress(OSError):
                self._close()
        self._made = self._close = None

    @property
    def _base(self) -> str:
        return f"https://{self.part.name}"

    def _curl(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        """A program of its own for each request; several addresses (get_all) share a connection."""
        words = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
        done = subprocess.run(
            [
                "curl",
                "-sk",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--max-time",
                "60",
                *words,
                *(["-I"] if method == "HEAD" else ["-X", method]),
                *(["--data-binary", "@-"] if body else []),
                self._base + path,
            ],
            input=body,
            stdout=subprocess.PIPE,
            check=False,
        )
        return int(done.stdout[-3:] or 0)

    def _httpx(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        import httpx

        if not isinstance(self._made, httpx.Client):
            self._made = httpx.Client(http2=True, verify=False, timeout=60)
            self._close = self._made.close
        return self._made.request(method, self._base + path, content=body or None, headers=headers).status_code

    def _requests(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        import requests
        import urllib3

        if not isinstance(self._made, requests.Session):
            urllib3.disable_warnings()
            self._made = requests.Session()
            # The environment's certificates would otherwise win over verify=False.
            self._made.trust_env, self._made.verify, self._close = False, False, self._made.close
        return self._made.request(method, self._base + path, data=body or None, headers=headers, timeout=60).status_code

    def _aiohttp(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        import aiohttp

        if not isinstance(self._made, _Session):

            async def make() -> aiohttp.ClientSession:
                return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))

            loop = asyncio.new_event_loop()
            session = loop.run_until_complete(make())
            self._made = _Session(loop, session)

            def close() -> None:
                loop.run_until_complete(session.close())
                loop.close()

            self._close = close
        made = self._made

        async def ask() -> int:
            async with made.session.request(method, self._base + path, data=body or None, headers=headers) as answer:
                await answer.read()
                return answer.status

        return made.loop.run_until_complete(asyncio.wait_for(ask(), 60))

    def _h1(self, method: str, path: str, body: bytes, headers: dict[str, str], again: bool = False) -> int:
        """HTTP/1.1 by Python, through whatever makes the connection: Python's own TLS, openssl or gnutls-cli."""
        if not isinstance(self._made, tls_pipe.Pipe):
            how = {"urllib": "python"}.get(self.part.client, self.part.client)
            self._made = tls_pipe.connect(self.part, how, PORT)
            self._close = self._made.close
        pipe = self._made
        connection = http.client.HTTPConnection(self.part.address)
        # As far as these two look, both are sockets.
        connection.sock = cast("socket.socket", pipe)
        connection.auto_open = 0
        try:
            # Its close() would close the pipe, whose end is decided here.
            connection.request(
                method, path, body or None, {**headers, "Connection": "keep-alive" if self.keep else "close"}
            )
            answer = http.client.HTTPResponse(cast("socket.socket", _Unclosed(pipe)), method=method)
            answer.begin()
            answer.read()
            if answer.headers.get("Connection", "").lower() == "close":
                self.close()
            return answer.status
        except (OSError, EOFError, http.client.HTTPException):
            self.close()
            if again:
                raise
            # Servers end idle connections; the next request then makes a new one.
            return self._h1(method, path, body, headers, True)

    def _node(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> int:
        """Node.js stays, the connection only if it is to be kept; one request a line."""
        if self._process is None:
            self._process = subprocess.Popen(
                ["node", "-e", _NODE, self.part.address, "1" if self.keep else ""],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        assert self._process.stdin and self._process.stdout, "both are pipes"
        self._process.stdin.write(
            json.dumps(
                {"method": method, "path": path, "headers": headers, "body": base64.b64encode(body).decode()}
            ).encode()
            + b"\n"
        )
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or 0)


class _Unclosed:
    """HTTPResponse closes its file at the answer's end; the connection may go on."""

    def __init__(self, pipe: tls_pipe.Pipe) -> None:
        self.file = pipe.file

    def makefile(self, *_: object) -> _Unclosed:
        return self

    def read(self, *size: int) -> bytes:
        return self.file.read(*size)

    def read1(self, *size: int) -> bytes:
        return self.file.read1(*size)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        return self.file.readinto(buffer)

    def readline(self, *size: int) -> bytes:
        return self.file.readline(*size)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


_NODE = """const [host, keep] = process.argv.slice(1), https = require("https");
const agent = new https.Agent({keepAlive: !!keep, maxSockets: 1, rejectUnauthorized: false});
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const {method, path, headers, body} = JSON.parse(line), data = Buffer.from(body, "base64");
  if (data.length) headers["Content-Length"] = data.length;
  const say = code => process.stdout.write(code + "\\n");
  const made = https.request({host, path, method, headers, agent, timeout: 60000}, answer =>
    answer.on("data", () => 0).on("end", () => say(answer.statusCode)));
  made.on("error", () => say(0)); made.end(data); });"""
