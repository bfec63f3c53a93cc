"""What a person does with folders on another machine, whatever carries it: looks, fetches, leaves something there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

from . import behaviour
from .part import Part

_FOLDERS = ("photos", "papers", "backup")


def files(part: Part) -> dict[str, int]:
    """Path -> bytes of what the server has; the client draws the same from the same seed."""
    draw = part.draw
    return {
        f"{folder}/{number}.bin": behaviour.file(draw) for folder in _FOLDERS for number in range(draw.randrange(2, 12))
    }


def lay_out(part: Part, root: Path) -> None:
    """Write those files, and a folder `incoming` for what comes."""
    for path, size in files(part).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.urandom(size))
    (root / "incoming").mkdir()


def errands(part: Part, draw: Random) -> Iterator[tuple[str, str | int]]:
    """In turn, without end: ("list", folder), ("get", path), ("put", bytes)."""
    paths = sorted(files(part))
    yield "list", ""
    while True:
        folder = draw.choice(_FOLDERS)
        yield "list", folder
        inside = [path for path in paths if path.startswith(folder)]
        if draw.random() < 0.65:
            # Mostly one file; at times many at once, as a program that mirrors a folder does.
            for path in draw.sample(inside, min(len(inside), draw.choice((1, 1, 2, 5)))):
                yield "get", path
        else:
            for _ in range(draw.choice((1, 1, 2, 4))):
                yield "put", behaviour.file(draw)


def rest(part: Part, draw: Random) -> bool:
    """The pause after one; False at the activity's end."""
    return part.pause(draw.expovariate(1 / 2.5) if draw.random() < 0.6 else 0.1)


def own_file(part: Part, name: str, size: int) -> Path:
    """A file of the person's own, to be sent."""
    file = part.scratch / name
    file.write_bytes(os.urandom(size))
    return file
