"""Which windows training draws, and how much each counts in each task once it is drawn."""

from __future__ import annotations

import numpy as np

from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.weights import weights

#: How much of the draws is by the weights of each task; some by none, so that every window comes.
_SHARES = {"service": 0.4, "application": 0.3, "malicious": 0.3}
_ANY = 0.02
#: No window counts more than this many times as much as another that is drawn as often.
_MOST = 20.0


def sampling(dataset: Dataset, rows: np.ndarray, lab: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The chance (n,) of each of ``rows`` to be drawn, and by task what each then counts, (N,) over the whole data set.

    The tasks want different windows: what is rare in one is plenty in another. Windows are drawn by the mean of what
    the tasks want, and weighed in each task for the rest.

    Args:
        lab: share of the draws for the lab's windows, where there are real ones too.
    """
    wanted = {task: weights(dataset, rows, task) for task in dataset.targets()}
    chance = np.full(len(rows), _ANY / len(rows))
    for task, share in _SHARES.items():
        chance += share * wanted[task] / max(wanted[task].sum(), 1)
    made = lab_rows(dataset)[rows]
    if made.any() and not made.all():
        for part, share in ((made, lab), (~made, 1 - lab)):
            chance[part] *= share / chance[part].sum()
    chance /= chance.sum()
    counts = {}
    for task, weight in wanted.items():
        counts[task] = np.zeros(len(dataset), np.float32)
        wanted_share = weight / max(weight.sum(), 1)
        # What is never drawn (the lab's, where it has no share) counts nothing.
        counts[task][rows] = np.divide(wanted_share, chance, out=np.zeros(len(rows)), where=chance > 0).clip(0, _MOST)
    return chance, counts
