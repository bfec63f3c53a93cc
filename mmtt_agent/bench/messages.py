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
    ts: float = 1_700_000_000.25,
    orig: str = "5e7a0123456789abcdef0001",
    resp: str = "5e7a0123456789abcdef0002",
    resp_p: str = "443/tcp",
) -> str:
    """A flow as Zeek's to_json writes it."""
    content = {"uid": uid, "window": window, "sizes": list(sizes), "times": list(times)}
    return _text(content | {"ts": ts, "ends": _ends(orig, resp, resp_p)})


def one_try(
    ts: float = 1_700_000_000.25,
    orig: str = "5e7a0123456789abcdef0001",
    resp: str = "5e7a0123456789abcdef0002",
    resp_p: str = "443/tcp",
    failed: int = 3,
    short: int = 1,
) -> str:
    """Connections without a verdict, as Zeek writes them."""
    return f"{ts:.6f} {orig} {resp} {resp_p} {failed} {short}"


def _ends(orig: str, resp: str, resp_p: str) -> str:
    """Whose it is; empty without ends, as of a Zeek that has no key."""
    return f"{orig} {resp} {resp_p}" if orig or resp else ""


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def flows(n: int, seed: int = 1, packets: int | None = None) -> list[str]:
    """Random flows with uids of their own, 1,000 a second, of 500 hosts with 5,000 others: some are in most."""
    draw = random.Random(seed)
    made = []
    for i in range(n):
        length = packets or draw.randint(4, 32)
        sizes = [draw.choice((-1, 1)) * draw.randint(1, 1460) for _ in range(length)]
        times = [0, *sorted(draw.randint(0, 60_000_000) for _ in range(length - 1))]
        orig, resp = int(500 * draw.random() ** 2), int(5000 * draw.random() ** 3)
        made.append(
            flow(
                f"C{seed:05d}{i:012d}",
                0,
                sizes,
                times,
                1_700_000_000 + i / 1000,
                f"5e7a{orig:020x}",
                f"5e7a{500 + resp:020x}",
                draw.choice(("443/tcp", "443/udp", "80/tcp", "22/tcp")),
            )
        )
    return made


def later(message: str, rounds: int) -> str:
    """A message with :func:`flows` as it would be so many times 100 seconds later: other connections of those hosts."""
    return message.replace("C00001", f"C{1 + rounds:05d}").replace('ts\\":17000000', f'ts\\":{17_000_000 + rounds}')


def tries(topic: str, lines: list[str], reply_topic: str = "mmtt/node/zeek", protocol: int = PROTOCOL) -> str:
    lines_as_vector = vector(*map(string, lines))
    return event(topic, "MMTT::tries", count(protocol), string(reply_topic), lines_as_vector)


def all_sent(topic: str, reply_topic: str = "mmtt/node/zeek", protocol: int = PROTOCOL) -> str:
    return event(topic, "MMTT::all_sent", count(protocol), string(reply_topic))


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
