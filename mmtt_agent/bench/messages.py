"""Messages as Zeek sends them, with made-up flows."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from ..agent.wire import PROTOCOL


def value(data_type: str, data: Any) -> dict[str, Any]:
    return {"@data-type": data_type, "data": data}


def string(text: str) -> dict[str, Any]:
    return value("string", text)


def count(number: int) -> dict[str, Any]:
    return value("count", number)


def vector(*elements: Any) -> dict[str, Any]:
    return value("vector", list(elements))


def event(topic: str, name: str, *arguments: Any) -> str:
    """The text of an event's message."""
    body = vector(count(1), count(1), vector(string(name), vector(*arguments)))
    return json.dumps({"type": "data-message", "topic": topic, **body})


def flow(
    uid: str = "CAbcdefghijklmnop1",
    window: int = 0,
    sizes: Sequence[int] = (100, -200, 300, -400),
    times: Sequence[int] = (0, 10, 20, 30),
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
    topic: str, batch_id: int, batch: list[str], reply_topic: str = "mmtt/node/zeek", protocol: int = PROTOCOL
) -> str:
    return event(
        topic,
        "MMTT::classify",
        count(protocol),
        string(reply_topic),
        count(batch_id),
        vector(*map(string, batch)),
    )
