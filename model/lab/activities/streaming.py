"""Video over HTTPS: an adaptive ladder of drawn sizes, and clips that players fetch piece by piece as they go."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from .. import behaviour, https_clients, https_site, recording
from ..activity import Activity, pairs
from ..part import Part
from .adaptive import player_command, watch_for

PORT = https_site.PORT
SEGMENT_SECONDS = 4.0
_SEGMENTS = 12
_CLIPS = 3
_PLAYERS = ("ffmpeg", "mpv")
_TLS = (PORT,)

ACTIVITIES = {
    "streaming": Activity("streaming", pairs(https_site.SERVERS, https_clients.CLIENTS), tcp_ports=_TLS),
    "streaming_http3": Activity("streaming", pairs(https_site.HTTP3_SERVERS, ("aioquic",))),
    "video_progressive": Activity(
        "streaming", pairs(https_site.SERVERS, (*https_clients.CLIENTS, *_PLAYERS, "chromium")), tcp_ports=_TLS
    ),
}


def site(part: Part) -> dict[str, int]:
    """Path -> bytes of all the server has; the client draws the same from the same seed."""
    draw = part.draw
    return {"/playlist": 900} | {
        f"/video/{rung}/{number}": behaviour.segment(draw, rung, SEGMENT_SECONDS)
        for number in range(_SEGMENTS)
        for rung in range(len(behaviour.LADDER))
    }


def _clips(part: Part) -> dict[str, Path]:
    """Path -> film, of various rates; the client draws the same from the same seed."""
    rates = part.draw.sample(list(recording.RUNGS)[1:], _CLIPS)
    return {f"/clip{number}.mp4": recording.folder() / f"film{rate}.mp4" for number, rate in enumerate(rates)}


def serve(part: Part) -> None:
    root = part.scratch / "site"
    root.mkdir()
    if part.activity == "video_progressive":
        for path, film in _clips(part).items():
            shutil.copy(film, root / path[1:])
            (root / path[1:]).with_suffix(".html").write_text(
                f"<!doctype html><title>lab</title><video muted autoplay src={path}></video>"
            )
        https_site.serve(part, root)
        return
    for path, size in site(part).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
    https_site.serve(part, root)


def act(part: Part) -> None:
    if part.activity != "video_progressive":
        https_clients.drive(part, _watch)
    draw = part.draw
    draw.seed(part.seed + 1)
    if part.client in _PLAYERS:
        while part.left() > 1:
            path = draw.choice(list(_clips(part)))
            watch_for(
                replace(part, seconds=min(part.seconds, part.seconds - part.left() + behaviour.clip(draw))),
                player_command(part, path, draw),
            )
    else:
        https_clients.drive(part, _fetch_clips)


def _watch(part: Part, client: https_clients.Client) -> None:
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


def _fetch_clips(part: Part, client: https_clients.Client) -> None:
    """One clip after the other: a first piece with the index, then pieces by range, so many seconds ahead of the
    picture.
    """
    draw, clips = part.draw, _clips(part)
    draw.seed(part.seed + 1)
    piece, most = draw.choice((256 << 10, 512 << 10, 1 << 20)), draw.choice((8, 15, 25))
    while part.left() > 1:
        path, size = draw.choice([(path, film.stat().st_size) for path, film in clips.items()])
        until = time.monotonic() + behaviour.clip(draw)
        if part.client == "chromium":
            client.get([path.replace(".mp4", ".html")])
            if not part.pause(max(0.0, until - time.monotonic())):
                return
            continue
        per_second, begun, at = size / recording.LENGTH, time.monotonic(), 0
        while time.monotonic() < until and at < size and part.left() > 0:
            last = min(at + (piece if at else 64 << 10), size) - 1
            client.fetch(path, (at, last))
            at = last + 1
            ahead = at / per_second - (time.monotonic() - begun)
            if ahead > most and not part.pause(min(ahead - most, max(0.0, until - time.monotonic()))):
                return
        if not part.pause(max(0.0, until - time.monotonic())):
            return
