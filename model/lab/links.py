"""What a link does to packets: rate, queue, delay with a heavy tail, loss in bursts. No I/O, so tests can run it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from . import LabError

FIELDS = ("down", "up", "delay", "jitter", "tail", "loss", "burst", "queue")


@dataclass(frozen=True)
class Profile:
    """An access link; units as in links.yaml (Mbit/s, ms, share, packets)."""

    name: str
    down: float
    up: float
    delay: float
    jitter: float
    tail: float
    loss: float
    burst: float
    queue: float


def profiles() -> dict[str, Profile]:
    """The link profiles that come with the lab, by name."""
    text = resources.files(__package__).joinpath("links.yaml").read_text()
    return {name: Profile(name, **values) for name, values in yaml.safe_load(text).items()}


def profile_of(name: str, values: Mapping[str, Any]) -> Profile:
    """A profile from a scenario's own mapping (missing fields: nothing is done). Raises LabError."""
    for key, value in values.items():
        if key not in FIELDS:
            raise LabError(f"link {name}: no such field {key!r}; one of {', '.join(FIELDS)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e7:
            raise LabError(f"link {name}: {key} must be a number from 0 up, not {value!r}")
    filled = {key: float(values.get(key, 1 if key == "burst" else 0)) for key in FIELDS}
    if filled["loss"] >= 0.9 or filled["burst"] < 1:
        raise LabError(f"link {name}: loss must be below 0.9 and burst at least 1")
    return Profile(name, **filled)


class Direction:
    """One way of a link. `send(now, size)` -> seconds (same clock) at which the packet leaves it, or None if it is
    lost.
    """

    __slots__ = (
        "burst_enter",
        "burst_exit",
        "busy",
        "delay",
        "dropped",
        "jitter_mu",
        "last",
        "lossy",
        "lost",
        "queue",
        "random",
        "second_per_byte",
        "tail",
    )

    def __init__(self, profile: Profile, upwards: bool, seed: int) -> None:
        rate = profile.up if upwards else profile.down
        self.second_per_byte = 8 / (rate * 1e6) if rate else 0.0
        self.queue = profile.queue / 1e3 if rate and profile.queue else math.inf
        self.delay = profile.delay / 1e3
        self.jitter_mu = math.log(profile.jitter / 1e3) if profile.jitter else None
        self.tail = profile.tail
        # Gilbert: lost while in the bad state; its long-run share is `loss`, its mean stay `burst` packets.
        self.burst_exit = 1 / profile.burst
        self.burst_enter = profile.loss * self.burst_exit / (1 - profile.loss)
        self.lossy = False
        self.busy = self.last = 0.0
        self.lost = self.dropped = 0
        self.random = random.Random(seed)

    def send(self, now: float, size: int) -> float | None:
        draw = self.random.random
        if self.burst_enter or self.lossy:
            self.lossy = draw() >= self.burst_exit if self.lossy else draw() < self.burst_enter
            if self.lossy:
                self.lost += 1
                return None
        start = max(self.busy, now)
        if start - now > self.queue:
            self.dropped += 1
            return None
        self.busy = start + size * self.second_per_byte
        due = self.busy + self.delay
        if self.jitter_mu is not None:
            # Bounded at 2 s: the tail is to be heavy, not to end connections.
            due += min(self.random.lognormvariate(self.jitter_mu, self.tail), 2.0)
        # A link keeps its packets in order.
        due = max(due, self.last)
        self.last = due
        return due
