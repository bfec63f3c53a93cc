"""HTTP/3 by aioquic: a server of a directory of files and a client with one connection."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ProtocolNegotiated, QuicEvent

from .part import Part

_Answer = TypeVar("_Answer")


def serve_quic(part: Part, root: Path, port: int) -> None:
    class Server(QuicConnectionProtocol):
        http: H3Connection | None = None

        def quic_event_received(self, event: QuicEvent) -> None:
            if isinstance(event, ProtocolNegotiated):
                self.http = H3Connection(self._quic)
                self.paths: dict[int, str] = {}
            if self.http is None:
                return
            for done in self.http.handle_event(event):
                if isinstance(done, HeadersReceived):
                    self.paths[done.stream_id] = dict(done.headers).get(b":path", b"/").decode()
                if isinstance(done, HeadersReceived | DataReceived) and done.stream_ended:
                    file = root / self.paths.pop(done.stream_id).lstrip("/")
                    body = file.read_bytes() if file.is_file() else os.urandom(24)
                    self.http.send_headers(
                        done.stream_id, [(b":status", b"200"), (b"content-length", str(len(body)).encode())]
                    )
                    self.http.send_data(done.stream_id, body, True)
                    self.transmit()

    async def run() -> None:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
        configuration.load_cert_chain(part.secrets / "cert.pem", part.secrets / "key.pem")
        await serve(part.address, port, configuration=configuration, create_protocol=Server)
        part.ready()
        await asyncio.Event().wait()

    asyncio.run(run())


class _Protocol(QuicConnectionProtocol):
    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.http = H3Connection(self._quic)
        #: By stream: who waits for the answer's end, and what has come of it.
        self.waiting: dict[int, asyncio.Future[bytes]] = {}
        self.bodies: dict[int, bytearray] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        for done in self.http.handle_event(event):
            if isinstance(done, DataReceived) and done.stream_id in self.bodies:
                self.bodies[done.stream_id] += done.data
            if isinstance(done, HeadersReceived | DataReceived) and done.stream_ended:
                waiting = self.waiting.pop(done.stream_id, None)
                if waiting and not waiting.done():
                    waiting.set_result(bytes(self.bodies.pop(done.stream_id)))

    async def request(self, method: bytes, path: str, body: bytes = b"") -> bytes:
        stream = self._quic.get_next_available_stream_id()
        self.bodies[stream] = bytearray()
        self.waiting[stream] = asyncio.get_running_loop().create_future()
        headers = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"lab"),
            (b":path", path.encode()),
            (b"user-agent", b"aioquic"),
        ]
        self.http.send_headers(stream, headers, not body)
        if body:
            self.http.send_data(stream, body, True)
        future = self.waiting[stream]
        self.transmit()
        return await asyncio.wait_for(future, 120)


class QuicClient:
    """get(), fetch() and post() as the other clients have them, over one connection that lasts."""

    def __init__(self, part: Part, port: int) -> None:
        self.part, self.port = part, port
        self.protocol: _Protocol
        self.loop, self.up = asyncio.new_event_loop(), threading.Event()
        threading.Thread(target=lambda: self.loop.run_until_complete(self._hold()), daemon=True).start()
        if not self.up.wait(30):
            raise OSError("no QUIC connection within 30 s")

    async def _hold(self) -> None:
        configuration = QuicConfiguration(alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name=self.part.name)
        async with connect(
            self.part.address, self.port, configuration=configuration, create_protocol=_Protocol
        ) as made:
            assert isinstance(made, _Protocol)
            self.protocol = made
            self.up.set()
            await asyncio.Event().wait()

    def _call(self, coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(130)

    def get(self, paths: list[str]) -> None:
        async def all_of_them() -> None:
            await self.protocol.request(b"GET", paths[0])
            await asyncio.gather(*(self.protocol.request(b"GET", path) for path in paths[1:]))

        self._call(all_of_them())

    def fetch(self, path: str) -> bytes:
        return self._call(self.protocol.request(b"GET", path))

    def post(self, path: str, size: int) -> None:
        self._call(self.protocol.request(b"POST", path, os.urandom(size)))
