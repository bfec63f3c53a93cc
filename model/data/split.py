"""Which sites train, which choose, which test: nothing of one network, and nothing that was recorded once, is on two
sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mmtt_agent.series import SeriesBatch

from .labels import MISSING

SPLITS = ("train", "validation", "test")


def equal_windows(series: SeriesBatch, timed: np.ndarray) -> list[list[int]]:
    """Rows with exactly the same sizes and times, together; in the order of their first. Where times are not known
    (``timed`` is false), equal sizes are enough."""
    same: dict[tuple[bool, bytes], list[int]] = {}
    for row, key in enumerate(np.concatenate([series.sizes, series.times], axis=1)):
        same.setdefault((bool(timed[row]), key.tobytes()), []).append(row)
    return list(same.values())


def recordings(same: list[list[int]], capture: np.ndarray) -> np.ndarray:
    """The recording of each window, numbered by the first of its captures.

    Collections copy captures from each other, cut and renamed. Two captures that share a window to the microsecond
    are taken for one recording, and so are those that both share one with a third.

    Args:
        same: what :func:`equal_windows` found.
        capture: (n,) the capture of each window.
    """
    joined: dict[int, int] = {}

    def first(c: int) -> int:
        while joined.get(c, c) != c:
            c = joined[c]
        return c

    for rows in same:
        group = {first(c) for c in capture[rows].tolist()}
        for c in group:
            joined[c] = min(group)
    return np.array([first(c) for c in capture.tolist()], np.int64)


def frozen_sites() -> dict[str, str]:
    """The split of each site of the public captures, as it was written down once (``sites.tsv``)."""
    text = Path(__file__).with_name("sites.tsv").read_text(encoding="utf-8")
    return dict(line.split("\t") for line in text.splitlines()[1:])


def split_groups(
    group: np.ndarray,
    tasks: list[np.ndarray],
    names: list[str],
    shares: tuple[float, ...],
    seed: int,
    frozen: Mapping[str, str] = MappingProxyType({}),
) -> np.ndarray:
    """The split of each window: whole groups, each label shared out as ``shares`` as far as possible.

    The rarest label is dealt with first: each group that has it goes to the split that lacks it most (iterative
    stratification: Sechidis, Tsoumakas, Vlahavas 2011). Groups are taken in the order of a hash of their name and the
    seed, so the result is frozen.

    Args:
        group: (n,) the group of each window (its site, its recording), an index into ``names``.
        tasks: labels (n,) per task, MISSING where not known.
        frozen: name -> split, for groups whose split is fixed.

    Returns:
        int64 (n,), indices into ``shares``; for three of them that is into SPLITS.
    """
    labels_of: dict[int, set[tuple[int, int]]] = {int(c): set() for c in np.unique(group)}
    for task, values in enumerate(tasks):
        for c, value in zip(group.tolist(), values.tolist(), strict=True):
            if value != MISSING:
                labels_of[c].add((task, value))
    order = sorted(labels_of, key=lambda c: digest(f"{seed} {names[c]}"))
    share = np.array(shares) / sum(shares)
    totals = Counter(label for labels in labels_of.values() for label in labels)
    wanted = {label: total * share for label, total in totals.items()}
    wanted_groups = len(order) * share
    assigned: dict[int, int] = {}

    def assign(c: int, place: int) -> None:
        assigned[c] = place
        wanted_groups[place] -= 1
        for label in labels_of[c]:
            wanted[label][place] -= 1

    for c in order:
        if names[c] in frozen:
            assign(c, SPLITS.index(frozen[names[c]]))
    while len(assigned) < len(order):
        left = Counter(label for c in order if c not in assigned for label in labels_of[c])
        if not left:
            # Groups without a label, such as those whose one label a study has taken away.
            for c in order:
                if c not in assigned:
                    assign(c, int(np.argmax(wanted_groups)))
            break
        rarest = min(left, key=lambda label: (left[label], label))
        for c in order:
            if c in assigned or rarest not in labels_of[c]:
                continue
            assign(c, max(range(len(share)), key=lambda s: (wanted[rarest][s], wanted_groups[s], -s)))
    return np.array([assigned[c] for c in group.tolist()], np.int64)


def seen_before(series: SeriesBatch, training: SeriesBatch) -> dict[str, float]:
    """The share of windows that training holds too: "sizes and times", and "sizes" (the times may differ)."""
    shares = {}
    for what, arrays in (
        ("sizes and times", lambda s: np.concatenate([s.sizes, s.times], axis=1)),
        ("sizes", lambda s: s.sizes),
    ):
        known = {row.tobytes() for row in arrays(training)}
        shares[what] = float(np.mean([row.tobytes() in known for row in arrays(series)])) if len(series) else 0.0
    return shares


def digest(text: str) -> int:
    """A number that is the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
