"""A WebSocket server that speaks like Zeek's /v1/messages/json, for the agent's tests."""

from __future__ import annotations

import asyncio
import contextlib
import json

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from mmtt_agent.bench.messages import (
    all_sent,
    classify,
    count,
    event,
    flow,
    flows,
    one_try,
    string,
    tries,
    value,
    vector,
)

__all__ = [
    "FakeZeek",
    "all_sent",
    "classify",
    "count",
    "event",
    "flow",
    "flows",
    "one_try",
    "plain",
    "string",
    "tries",
    "value",
    "vector",
]


def plain(content):
    """Python's own values for a message's data."""
    if isinstance(content, dict):
        return plain(content["data"])
    if isinstance(content, list):
        return [plain(each) for each in content]
    return content


class FakeZeek:
    """Accepts one agent at a time; what the agent sends lies in ``events`` as (topic, name, arguments).

    Use as an async context manager; ``url`` is where it listens.
    """

    def __init__(self, *, acknowledge: bool = True, port: int = 0, tls=None) -> None:
        self.events: asyncio.Queue = asyncio.Queue()
        self.subscriptions: asyncio.Queue = asyncio.Queue()
        self.closed: asyncio.Queue = asyncio.Queue()
        self.agent = None
        self._acknowledge, self._port, self._tls = acknowledge, port, tls

    async def __aenter__(self):
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            ssl=self._tls,
            compression=None,
            max_size=None,
            ping_interval=None,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/v1/messages/json"
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()  # 1001, as Zeek does
        await self._server.wait_closed()

    async def _serve(self, websocket) -> None:
        with contextlib.suppress(ConnectionClosed):
            self.subscriptions.put_nowait(json.loads(await websocket.recv()))
            if self._acknowledge:
                await websocket.send(json.dumps({"type": "ack", "endpoint": "fake", "version": "8.2.2"}))
            self.agent = websocket
            async for message in websocket:
                content = json.loads(message)
                name, arguments = plain(content["data"])[2][:2]
                self.events.put_nowait((content["topic"], name, arguments))
        self.closed.put_nowait(websocket.close_code)

    async def send(self, text: str) -> None:
        await self.agent.send(text)

    async def next(self, name: str, timeout: float = 20):
        """The next event of that name, as (topic, arguments); others before it are dropped."""

        async def find():
            while True:
                topic, found, arguments = await self.events.get()
                if found == name:
                    return topic, arguments

        return await asyncio.wait_for(find(), timeout)
