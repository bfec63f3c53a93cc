"""Changes to windows that leave their labels true: what another path, host or place in the flow would have shown."""

from __future__ import annotations

import numpy as np

from mmtt_agent.series import MAX_SIZE, MAX_WAIT_US, MIN_PACKETS, SeriesBatch

#: A full packet has at least this much payload; paths carry from _SMALL to _LARGE bytes of it.
_FULL, _SMALL, _LARGE = 1100, 1180, 1460

#: Waits for the other side that are shorter are mostly the path's; gaps within one side that are shorter, too.
_ANSWER_US, _TOGETHER_US = 1_000_000, 5_000


def augment(batch: SeriesBatch, share: float, rng: np.random.Generator, other_mtu: float = 0.0) -> SeriesBatch:
    """Change each window with probability ``share``; the packets' order stays, and at least MIN_PACKETS of them.

    Args:
        other_mtu: share of the changed windows in which full packets get another size.
    """
    n, places = len(batch), batch.sizes.shape[1]
    chosen = rng.random(n) < share
    if other_mtu:
        batch = _other_mtu(batch, _some(rng, chosen, other_mtu), rng)
    position = np.arange(places)
    lengths = batch.lengths.astype(np.int64)
    keep = position < lengths[:, None]

    # Begin later (a window from the middle of a flow), end sooner, lose single packets.
    spare = (lengths - MIN_PACKETS).clip(0)
    first = _some(rng, chosen, 0.25) * rng.integers(0, spare + 1)
    spare = spare - first
    last = lengths - _some(rng, chosen, 0.25) * rng.integers(0, spare + 1)
    cut = keep & (position >= first[:, None]) & (position < last[:, None])
    lost = (rng.random(cut.shape) < 0.05) & _some(rng, chosen, 0.3)[:, None]
    thinned = cut & ~lost
    keep = np.where((thinned.sum(axis=1) >= np.minimum(MIN_PACKETS, lengths))[:, None], thinned, cut)

    # Another path between the hosts. Its length is in the waits for the other side's answer, its speed in the short
    # gaps between packets of one side; longer gaps are the programs' own, and stay. The labs that captures come from
    # differ in both by orders of magnitude, and a model must not know them by it.
    gaps = np.diff(batch.times.astype(np.float64), axis=1, prepend=0).clip(0)
    answers = np.zeros(gaps.shape, bool)
    answers[:, 1:] = (batch.sizes[:, 1:] < 0) != (batch.sizes[:, :-1] < 0)
    moved_away = _some(rng, chosen, 0.7)
    distance = np.exp(rng.normal(0, 1.5, n) * moved_away)[:, None]
    speed = np.exp(rng.normal(0, 1.0, n) * moved_away)[:, None]
    delay = (10 ** rng.uniform(2, 5, n) * _some(rng, moved_away, 0.4))[:, None]
    jitter = np.exp(rng.normal(0, 0.15, gaps.shape) * moved_away[:, None])
    waits = gaps * jitter
    waits *= np.where(answers & (gaps < _ANSWER_US), distance, 1)
    waits *= np.where(~answers & (gaps < _TOGETHER_US), speed, 1)
    times = np.cumsum(waits + answers * delay, axis=1)

    # Names and headers of other lengths: each direction's sizes move by a few bytes.
    moved = _some(rng, chosen, 0.3)
    by = np.where(batch.sizes < 0, rng.integers(-6, 7, n)[:, None], rng.integers(-6, 7, n)[:, None]) * moved[:, None]
    sizes = np.sign(batch.sizes) * np.clip(np.abs(batch.sizes) + by, 1, MAX_SIZE)

    # What is kept moves to the front.
    order = np.argsort(~keep, axis=1, kind="stable")
    lengths = keep.sum(axis=1)
    filled = position < lengths[:, None]
    sizes = np.take_along_axis(sizes, order, axis=1)
    times = np.take_along_axis(times, order, axis=1)
    times = np.minimum(times - times[:, :1], MAX_WAIT_US).round()
    return SeriesBatch(
        np.where(filled, sizes, 0).astype(np.int32),
        np.where(filled, times, 0).astype(np.int32),
        lengths.astype(np.int32),
    )


def _other_mtu(batch: SeriesBatch, rows: np.ndarray, rng: np.random.Generator) -> SeriesBatch:
    """Cut what was sent in full packets anew, into packets of another size, in those of the ``rows`` with full
    packets.
    """
    largest = np.abs(batch.sizes).max(axis=1, initial=0)
    rows = np.flatnonzero(rows & (largest >= _FULL))
    if not len(rows):
        return batch
    sizes, times, lengths = batch.sizes.copy(), batch.times.copy(), batch.lengths.copy()
    for row, size in zip(rows, rng.integers(_SMALL, _LARGE + 1, len(rows)), strict=True):
        count = lengths[row]
        cut = _cut(sizes[row, :count].tolist(), times[row, :count].tolist(), int(largest[row]), int(size))
        if len(cut) < MIN_PACKETS:
            continue
        cut = cut[: sizes.shape[1]]
        lengths[row], sizes[row], times[row] = len(cut), 0, 0
        sizes[row, : len(cut)], times[row, : len(cut)] = zip(*cut, strict=True)
    return SeriesBatch(sizes, times, lengths)


def _cut(sizes: list[int], times: list[int], full: int, new: int) -> list[tuple[int, int]]:
    """Size and time of each packet, where ``full`` was a full packet's size and is ``new`` now. A message is the full
    packets of one side and the packet that ends them."""
    cut: list[tuple[int, int]] = []
    waiting = 0
    for number, (size, time) in enumerate(zip(sizes, times, strict=True)):
        sign = 1 if size > 0 else -1
        waiting += abs(size)
        follows = number + 1 < len(sizes) and sizes[number + 1] * sign > 0
        while waiting >= new:
            cut.append((sign * new, time))
            waiting -= new
        if waiting and not (abs(size) == full and follows):
            cut.append((sign * waiting, time))
            waiting = 0
    return cut


def _some(rng: np.random.Generator, chosen: np.ndarray, share: float) -> np.ndarray:
    """A share of the chosen rows."""
    return chosen & (rng.random(len(chosen)) < share)
