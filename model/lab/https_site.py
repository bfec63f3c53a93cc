"""A directory given out over HTTPS or HTTP/3 by a server program or by Python, which also takes what is sent up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socketserver
import ssl
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from . import https_servers
from .part import Part
from .serving import run_server, wait_for_port

PORT = https_servers.PORT
SERVERS = (*https_servers.SERVERS, "python", "hypercorn")
HTTP3_SERVERS = ("aioquic", "caddy-h3", "hypercorn-h3")
#: Players insist on some of these; the web servers that know them need no telling.
TYPES = {
    ".html": "text/html",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".mp4": "video/mp4",
}


def serve(part: Part, root: Path, takes: bool = False) -> None:
    """Give out the files below `root`. `takes`: POST too, which the usual servers pass on to Python behind them."""
    if part.server == "aioquic":
        from .http3 import serve_quic

        serve_quic(part, root, PORT)
    elif part.server.startswith("hypercorn"):
        _hypercorn(part, root)
    elif part.server == "python":
        _python(part, root)
    elif takes:
        behind = part.scratch / "inside"
        server = _Behind(str(behind), _handler(root))
        behind.chmod(0o666)
        # Apache's children are not root.
        for folder in (part.scratch, part.scratch.parent):
            folder.chmod(folder.stat().st_mode | 0o011)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run_server(part, https_servers.command(part, behind=behind), PORT)
    else:
        run_server(part, https_servers.command(part, root=root), PORT)


def _answer(root: Path, path: str, span: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path and what its Range header says."""
    file = root / path.partition("?")[0].lstrip("/")
    if not file.is_file():
        return 404, {"content-length": "8"}, b"not here"
    body, status = file.read_bytes(), 200
    headers = {"content-type": TYPES.get(file.suffix, "application/octet-stream"), "accept-ranges": "bytes"}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", span)
    if asked and int(asked[1]) < len(body):
        first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
        headers["content-range"] = f"bytes {first}-{last}/{len(body)}"
        body, status = body[first : last + 1], 206
    return status, {**headers, "content-length": str(len(body))}, body


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return ""

        def do_GET(self) -> None:
            status, headers, body = _answer(root, self.path, self.headers.get("Range") or "")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0 and (got := self.rfile.read(min(left, 65536))):
                left -= len(got)
            self.send_response(403 if self.path == "/login" else 200)
            self.send_header("Content-Length", "24")
            self.end_headers()
            self.wfile.write(os.urandom(24))

    return Handler


class _Behind(socketserver.ThreadingUnixStreamServer):
    daemon_threads, request_queue_size = True, 64

    def handle_error(self, *_: object) -> None:
        pass


def _python(part: Part, root: Path) -> None:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        # `request` is a TCP server's, a socket.
        def finish_request(self, request: Any, client_address: Any) -> None:
            # The handshake belongs into the connection's own thread: a slow client must not hold up the others.
            request.settimeout(60)
            with contextlib.suppress(OSError):
                super().finish_request(context.wrap_socket(request, server_side=True), client_address)

        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
    server = Server((part.address, PORT), _handler(root))
    part.ready()
    server.serve_forever()


def _hypercorn(part: Part, root: Path) -> None:
    """HTTP/1.1 and HTTP/2 by hyper's libraries, HTTP/3 too if the server's name says so."""
    from hypercorn.asyncio import serve as serve_asgi
    from hypercorn.config import Config

    async def application(
        scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            while True:
                asked = (await receive())["type"]
                await send({"type": f"{asked}.complete"})
                if asked.endswith("shutdown"):
                    return
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
            status, headers, body = 403 if scope["path"] == "/login" else 200, {"content-length": "24"}, os.urandom(24)
        else:
            span = dict(scope["headers"]).get(b"range", b"").decode()
            status, headers, body = await asyncio.to_thread(_answer, root, scope["path"], span)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": body})

    config = Config()
    config.bind, config.accesslog, config.errorlog = [f"{part.address}:{PORT}"], None, None
    if part.server == "hypercorn-h3":
        config.quic_bind = config.bind
    config.certfile, config.keyfile = str(part.secrets / "cert.pem"), str(part.secrets / "key.pem")

    async def run() -> None:
        def tell() -> None:
            wait_for_port(part.address, PORT)
            part.ready()

        threading.Thread(target=tell, daemon=True).start()
        await serve_asgi(application, config, shutdown_trigger=asyncio.Event().wait)

    asyncio.run(run())
