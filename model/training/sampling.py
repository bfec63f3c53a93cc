"""Which windows an epoch of training draws: with what chance each, and how many."""

from __future__ import annotations

import numpy as np

from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.labels import MISSING


def sampling(dataset: Dataset, rows: np.ndarray, way: str, lab: float) -> tuple[np.ndarray, int]:
    """The chance of each of ``rows`` to be drawn, and how many windows an epoch draws.

    Args:
        way: as ``Training.sampling`` has it.
        lab: share of the draws for the lab's captures, where there are real ones too. They come on top: an epoch draws
            as many of the real ones with them as without.
    """
    _, capture, count = np.unique(dataset.capture[rows], return_inverse=True, return_counts=True)
    chance = np.ones(len(rows)) if way == "plain" else 1 / np.sqrt(count[capture])
    made, service = lab_rows(dataset)[rows], dataset.service[rows]
    parts, shares = [np.ones(len(rows), bool)], [1.0]
    if made.any() and not made.all():
        parts, shares = [made, ~made], [lab, 1 - lab]
    drawn = np.count_nonzero(parts[-1]) / shares[-1]
    if way in ("balanced", "over", "down"):
        for part in parts:
            chance[part] = _balanced(chance[part], service[part])
        drawn *= {"balanced": 1.0, **_lengths(service[parts[-1]])}[way]
    if len(parts) > 1:
        for part, share in zip(parts, shares, strict=True):
            chance[part] *= share / chance[part].sum()
    return chance / chance.sum(), int(drawn)


def _balanced(chance: np.ndarray, service: np.ndarray) -> np.ndarray:
    """``chance`` with the same sum for every service; windows without one keep together the share that they have by
    number.
    """
    names, group, count = np.unique(service, return_inverse=True, return_counts=True)
    known = names != MISSING
    share = np.where(known, count[known].sum() / max(1, known.sum()), count)
    return chance * (share / np.bincount(group, chance))[group]


def _lengths(service: np.ndarray) -> dict[str, float]:
    """How many times as many windows there would be if each service had as many as the most frequent, or as the
    rarest.
    """
    count = np.unique(service[service != MISSING], return_counts=True)[1]
    return (
        {"over": count.max() / count.mean(), "down": count.min() / count.mean()}
        if len(count)
        else {"over": 1.0, "down": 1.0}
    )
