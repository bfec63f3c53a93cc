"""A WebSocket server that speaks like Zeek's /v1/messages/json, for the agent's tests and its bench."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def value(data_type: str, data) -> dict:
    return {"@data-type": data_type, "data": data}


def string(text: str) -> dict:
    return value("string", text)


def count(number: int) -> dict:
    return value("count", number)


def vector(*elements) -> dict:
    return value("vector", list(elements))


def event(topic: str, name: str, *arguments) -> str:
    """The text of an event's message."""
    body = vector(count(1), count(1), vector(string(name), vector(*arguments)))
    return json.dumps({"type": "data-message", "topic": topic, **body})


def flow(
    uid: str = "CAbcdefghijklmnop1", window: int = 0, sizes=(100, -200, 300, -400), times=(0, 10, 20, 30)
) -> str:
    """A flow as Zeek's to_json writes it."""
    content = {"uid": uid, "window": window, "sizes": list(sizes), "times": list(times)}
    return json.dumps(content, separators=(",", ":"))


def flows(n: int, seed: int = 1, packets: int | None = None) -> list[str]:
    """Random flows with uids of their own."""
    draw = random.Random(seed)
    made = []
    for i in range(n):
        length = packets or draw.randint(4, 32)
        sizes = [draw.choice((-1, 1)) * draw.randint(1, 1460) for _ in range(length)]
        times = [0, *sorted(draw.randint(0, 60_000_000) for _ in range(length - 1))]
        made.append(flow(f"C{seed:05d}{i:012d}", 0, sizes, times))
    return made


def classify(
    topic: str, batch_id: int, batch: list[str], reply_topic: str = "mmtt/node/zeek", protocol: int = 1
) -> str:
    return event(
        topic,
        "MMTT::classify",
        count(protocol),
        string(reply_topic),
        count(batch_id),
        vector(*map(string, batch)),
    )


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
        self._server.close(code=1001, reason="Terminating")
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
