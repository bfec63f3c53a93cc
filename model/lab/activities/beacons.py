"""The shapes of well-known frameworks' check-ins over HTTPS, as published (beacons.yaml), and what follows a
check-in.
"""

from __future__ import annotations

import base64
import functools
import math
import os
from functools import partial
from importlib import resources
from random import Random
from typing import Any

import yaml

from .. import behaviour, fronted
from ..activity import Activity, pairs
from ..fence import check
from ..part import Part
from ..workers import side_by_side

serve = fronted.serve

_HTTPS = pairs(fronted.SERVERS, fronted.CLIENTS)
_TLS = (fronted.PORT,)


@functools.cache
def _profiles() -> dict[str, dict[str, Any]]:
    text = resources.files("mmtt_model.lab").joinpath("beacons.yaml").read_text()
    return {f"beacon_{name}": entry["play"] for name, entry in yaml.safe_load(text).items()}


ACTIVITIES = {
    **{name: Activity("web", _HTTPS, malicious=name, tcp_ports=_TLS) for name in _profiles()},
    "poll_interactive": Activity("web", _HTTPS, malicious="poll_interactive", tcp_ports=_TLS),
    "stage_https": Activity("web", _HTTPS, malicious="stage_https", tcp_ports=_TLS),
}


def act(part: Part) -> None:
    check(part)
    draw = part.draw
    play = {"poll_interactive": _interactive, "stage_https": _stage}.get(part.activity, _check_in)
    # A connection that stays is one flow: some agents then, else one.
    keep = play is _interactive or (play is _check_in and _profiles()[part.activity]["keep"])
    keep = keep and part.client != "curl"
    agents = draw.randrange(2, 4) if keep else 1

    def agent(seed: float, wait: float) -> None:
        client = fronted.Client(part, keep)
        if part.pause(wait):
            play(part, Random(seed), client)

    side_by_side(part, [partial(agent, draw.random(), draw.uniform(0, 3) if number else 0) for number in range(agents)])


def _text(draw: Random, size: int) -> str:
    return base64.urlsafe_b64encode(draw.randbytes(size)).decode()[:size]


def _size(draw: Random, median: float, sigma: float, most: int = 300_000) -> int:
    return int(min(draw.lognormvariate(math.log(median), sigma), most))


def _check_in(part: Part, draw: Random, client: fronted.Client) -> None:
    play = _profiles()[part.activity]
    # Published intervals are up to a minute, captures two minutes long: scaled to 1-10 s, jitter's share of it kept.
    interval = (
        play["interval"] if play["interval"] <= 5 else max(1.0, draw.choice((1 / 15, 1 / 10, 1 / 6)) * play["interval"])
    )
    identity = _text(draw, draw.randint(*play["head"]))
    path, post, waited = f"{_text(draw, draw.randrange(8, 40))}", play["post"], 0.0
    while True:
        task = draw.random() < play["task"]
        down = int(math.exp(draw.uniform(*map(math.log, play["tasks"])))) if task else draw.randint(*play["down"])
        up = draw.randint(*play["up"])
        client.request(
            "POST" if post else "GET",
            f"/200/{down + (play['down'][0] if task else 0)}/{path}",
            os.urandom(up),
            {"Cookie": identity} if identity else None,
        )
        if task:
            # The task takes its time; then its result, as often as there is some.
            if not part.pause(min(draw.expovariate(1 / 0.8), 4.0)):
                return
            client.request(
                "POST",
                f"/200/{draw.randint(*play['down'])}/{_text(draw, 14)}",
                os.urandom(max(play.get("least", 0), _size(draw, *play["result"]))),
                {"Cookie": identity},
            )
        if "backoff" in play:
            waited = 0.1 if task else min(max(waited * 1.35, 0.1), play["backoff"])
            pause = waited
        elif play.get("longer"):
            pause = interval * (1 + play["jitter"] * draw.random())
        elif play.get("around"):
            pause = interval * (1 + play["jitter"] * draw.uniform(-1, 1))
        else:
            pause = behaviour.beacon(interval, play["jitter"], draw)
        if not part.pause(pause):
            return


def _interactive(part: Part, draw: Random, client: fronted.Client) -> None:
    """An operator at work on an agent that polls: polls every second or faster, now and then a command and its
    answer.
    """
    interval, identity = (
        draw.choice((0.3, 0.5, 1.0) if client.keep else (1.0, 1.5)),
        _text(draw, draw.randrange(60, 300)),
    )
    typed = draw.uniform(0.5, 3)
    while True:
        command = part.seconds - part.left() > typed
        client.request("GET", f"/200/{draw.randrange(60, 400) if command else 0}/poll", headers={"Cookie": identity})
        if command:
            client.request("POST", "/200/0/out", os.urandom(_size(draw, 900, 1.4)), {"Cookie": identity})
            typed = part.seconds - part.left() + sum(behaviour.keystroke(draw) for _ in range(draw.randrange(4, 20)))
        if not part.pause(behaviour.beacon(interval, 0.2, draw)):
            return


def _stage(part: Part, draw: Random, client: fronted.Client) -> None:
    """A small page, a module of 200 kB to 2 MB, some first check-ins; then the next."""
    for _ in range(3):
        client.request("GET", f"/200/{draw.randrange(300, 6000)}/{_text(draw, 8)}")
        if not part.pause(draw.uniform(0.1, 1.5)):
            return
        client.request("GET", f"/200/{max(200_000, _size(draw, 450_000, 0.7, 2_000_000))}/{_text(draw, 12)}")
        for _ in range(draw.randrange(2, 5)):
            if not part.pause(draw.uniform(0.5, 2)):
                return
            client.request(
                "POST", f"/200/{draw.randrange(0, 200)}/{_text(draw, 8)}", os.urandom(draw.randrange(150, 900))
            )
