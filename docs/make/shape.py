"""The picture of traffic shapes: windows of a capture as the series that Zeek collects, and as what the image encoder
sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import svg

from mmtt_agent import features
from mmtt_agent.capture import Capture, read_capture
from mmtt_agent.series import MAX_PAYLOAD_PACKETS, MAX_WAIT_US, SeriesBatch

#: The responder's port of the first window that is shown, and what its flow is, by tests/data/lab.tsv.
_SHOWN = ((22, "a shell over SSH"), (27960, "a game"), (1194, "web inside OpenVPN"))
_CELL, _LEFT, _COLUMN = 8, 54, 316
_LEGEND = (
    "Above: each packet with payload, up from the originator, down from the responder, as long as it is large.",
    "Below: the same packets counted by time (down, logarithmic) and size (outward from the middle).",
)
_TICKS = ((1, "1 µs"), (1_000, "1 ms"), (100_000, "0.1 s"), (1_000_000, "1 s"), (10_000_000, "10 s"))


def picture(path: Path) -> str:
    capture = read_capture(path)
    parts = []
    for number, (port, title) in enumerate(_SHOWN):
        parts += _column(capture, _window(capture, port), title, _LEFT + number * _COLUMN)
    height = features.PICTURE_SHAPE[0]
    bottom = 196 + height * _CELL
    parts += [
        svg.text(_LEFT, bottom + 40 + 18 * number, words, colour=svg.GREY, size=12)
        for number, words in enumerate(_LEGEND)
    ]
    for microseconds, words in _TICKS:
        y = 196 + (_row(microseconds) + 0.5) * _CELL
        parts.append(svg.text(_LEFT - 6, y + 4, words, "end", colour=svg.GREY, size=10))
    return svg.document(_LEFT + 3 * _COLUMN - 30, bottom + 76, "Shapes of three flows", parts)


def _window(capture: Capture, port: int) -> int:
    """Row of the first window 0 to that port."""
    windows = capture.windows
    is_it = (capture.connections.resp_p[windows.connection] == port) & (windows.window == 0)
    return int(np.flatnonzero(is_it)[0])


def _column(capture: Capture, row: int, title: str, x: float) -> list[str]:
    series = capture.windows.series[row : row + 1]
    count = int(series.lengths[0])
    sizes, times = series.sizes[0, :count].tolist(), series.times[0, :count].tolist()
    height, width = features.PICTURE_SHAPE
    wide = width * _CELL
    middle, most = 104, max(map(abs, sizes))
    parts = [svg.text(x, 28, f"{title}: {count} packets in {times[-1] / 1e6:.2f} s", bold=True)]
    parts.append(svg.line(x, middle, x + wide, middle))
    for place, size in enumerate(sizes):
        length = max(1.5, 60 * abs(size) / most)
        at = x + place * wide / MAX_PAYLOAD_PACKETS
        fill = svg.GREEN[1] if size > 0 else svg.AMBER[1]
        parts.append(
            svg.rectangle(round(at, 1), round(middle - length if size > 0 else middle, 1), 5, round(length, 1), fill)
        )
    parts.append(svg.text(x + wide, 56, f"up to {most:,} bytes", "end", colour=svg.GREY, size=10))
    top = 196
    parts.append(svg.rectangle(x, top, wide, height * _CELL, "#f3f5f7", svg.PLAIN[1]))
    brightness = features.model_input(series)["picture"][0]
    for down, across in np.argwhere(brightness).tolist():
        dark = 215 - round(180 * float(brightness[down, across]))
        parts.append(
            svg.rectangle(
                x + across * _CELL, top + down * _CELL, _CELL, _CELL, f"rgb({dark - 35},{dark - 10},{dark + 20})"
            )
        )
    parts.append(svg.line(x + wide / 2, top, x + wide / 2, top + height * _CELL, "#b8c2cc"))
    below = top + height * _CELL + 16
    parts += [
        svg.text(x + wide / 4, below, "← from the responder", "middle", colour=svg.GREY, size=11),
        svg.text(x + 3 * wide / 4, below, "from the originator →", "middle", colour=svg.GREY, size=11),
    ]
    return parts


def _row(microseconds: int) -> int:
    """The row of the picture that a packet at that time falls into, as the features have it."""
    shown = SeriesBatch.from_lists([[1, 1]], [[0, min(microseconds, MAX_WAIT_US)]])
    return int(np.flatnonzero(features.model_input(shown)["picture"][0].any(axis=1))[-1])
