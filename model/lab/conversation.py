"""People who write to each other: when each types and sends, and their TLS connections."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from random import Random

from . import behaviour
from .part import Part


def words(size: int) -> str:
    """Text of so many characters that does not compress."""
    return base64.urlsafe_b64encode(os.urandom(size * 3 // 4 + 1)).decode()[:size]


def in_a_group(part: Part) -> bool:
    """Whether the conversation is of several; both sides draw the same."""
    return Random(part.seed + 7).random() < 0.5


def write(part: Part, draw: Random, say: Callable[[int], object], types: Callable[[], object] = lambda: None) -> None:
    """One person: now and then types (`types` tells the others), then sends a message of so many bytes (`say`)."""
    while True:
        size = behaviour.message(draw)
        types()
        if not part.pause(behaviour.typing(size, draw)):
            return
        say(size)
        if not part.pause(behaviour.message_gap(draw)):
            return


def people(part: Part, person: Callable[[Part, Random, str], None]) -> None:
    """Let the others of the conversation run beside the server, each in a thread: one, or three in a group."""
    others = replace(part, seconds=1e6)
    for number, name in enumerate(("bob", "cara", "dan")[: 3 if in_a_group(part) else 1]):
        threading.Thread(target=person, args=(others, Random(part.seed + 100 + number), name), daemon=True).start()
