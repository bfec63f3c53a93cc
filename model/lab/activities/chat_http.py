"""Chat over HTTPS by long polling, as Matrix clients do: one request is held until there is news, others bring
messages.
"""

from __future__ import annotations

import os
import threading
import time
from random import Random

from .. import behaviour, conversation, fronted
from ..activity import Activity, pairs
from ..part import Part

_HOLD = 10.0

ACTIVITIES = {
    "chat_http": Activity("chat", pairs(fronted.SERVERS, fronted.CLIENTS), tcp_ports=(fronted.PORT,)),
}


class _Holding(fronted.Handler):
    """A path /STATUS/BYTES/sync-SECONDS is answered after that time: the client knows when the others will write."""

    def do_GET(self) -> None:
        what = self.path.rsplit("/", 1)[-1]
        if what.startswith("sync-"):
            time.sleep(min(float(what[5:]), _HOLD))
        super().do_GET()

    do_POST = do_PUT = do_GET


def serve(part: Part) -> None:
    fronted.serve(part, _Holding)


def act(part: Part) -> None:
    """Both programs keep their connections; a client that is a new program each time (curl) makes each anew."""
    draw, hearing, token = part.draw, fronted.Client(part, True), os.urandom(16).hex()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    hearing.request("GET", "/200/4000/sync-0", headers=headers)
    threading.Thread(target=_hear, args=(part, hearing, headers), daemon=True).start()
    talking, room = fronted.Client(part, True), f"rooms/{token[:18]}"
    turn = iter(range(1_000_000))

    def types() -> None:
        talking.request("PUT", f"/200/2/{room}-typing", b'{"typing":true,"timeout":30000}', headers)

    def say(size: int) -> None:
        if behaviour.is_picture(size):
            talking.request("POST", "/200/70/upload", os.urandom(size), {**headers, "Content-Type": "image/jpeg"})
            size = 160
        talking.request("PUT", f"/200/60/{room}-send-m{next(turn)}", conversation.words(size + 60).encode(), headers)

    def write() -> None:
        conversation.write(part, draw, say, types)

    # A request under way at the end is cut off, as a person closes a program.
    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(max(0.1, part.left() + 0.5))
    os._exit(0)


def _hear(part: Part, client: fronted.Client, headers: dict[str, str]) -> None:
    """What comes in: others' typing notices, messages, receipts, and a picture to fetch; or nothing until the hold
    ends.
    """
    draw = Random(part.seed + 50)
    others = 3 if conversation.in_a_group(part) else 1
    while part.left() > 0:
        size = behaviour.message(draw)
        wait = min(behaviour.message_gap(draw) for _ in range(others))
        while wait > _HOLD:
            client.request("GET", f"/200/140/sync-{_HOLD:g}", headers=headers)
            wait -= _HOLD
        client.request("GET", f"/200/330/sync-{wait:.2f}", headers=headers)
        picture = behaviour.is_picture(size)
        client.request(
            "GET", f"/200/{620 + (200 if picture else size)}/sync-{behaviour.typing(size, draw):.2f}", headers=headers
        )
        if picture:
            client.request("GET", f"/200/{size}/media", headers=headers)
