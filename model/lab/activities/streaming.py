"""Video and audio over HTTPS: adaptive ladders."""

from __future__ import annotations

import os
import time

from .. import behaviour, https_clients, https_site
from ..activity import Activity, pairs
from ..part import Part

PORT = https_site.PORT
SEGMENT_SECONDS = 4.0
_SEGMENTS = 12
_TLS = {"tcp_ports": (PORT,)}

ACTIVITIES = {
    "streaming": Activity("streaming", pairs(https_site.SERVERS, https_clients.CLIENTS), **_TLS),
    "streaming_http3": Activity("streaming", pairs(https_site.HTTP3_SERVERS, ("aioquic",))),
}


def site(part: Part) -> dict[str, int]:
    """Path -> bytes of all the server has; the client draws the same from the same seed."""
    draw = part.draw
    return {"/playlist": 900} | {
        f"/video/{rung}/{number}": behaviour.segment(draw, rung, SEGMENT_SECONDS)
        for number in range(_SEGMENTS) for rung in range(len(behaviour.LADDER))
    }


def serve(part: Part) -> None:
    root = part.scratch / "site"
    for path, size in site(part).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    https_site.serve(part, root)


def act(part: Part) -> None:
    https_clients.drive(part, _watch)


def _watch(part: Part, client) -> None:
    """An adaptive player: rung by measured rate with a margin, at most 20 s ahead (after Huang et al. 2014)."""
    files = site(part)
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
