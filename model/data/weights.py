"""How much each window counts, in training and for whatever is trained beside ours: each task its own.

Volumes differ by 1,000 between sites and by 100 between classes. By their number the few labs that record most would be
all that is learnt.
"""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .labels import MISSING

#: To what power of what there is of a class its windows count for less in training.
_RARE = 0.5


def weights(dataset: Dataset, rows: np.ndarray, task: str) -> np.ndarray:
    """Weights (n,) of the windows ``rows`` in ``task``, 1 on average over those with a label and 0 for the others.

    A repository counts by the root of what it has of a class. What is malicious, or not, is as much as the other; of
    services, applications and kinds the rare ones count for more than their number, but not for as much.
    """
    return _weights(dataset, rows, task, 1.0 if task == "malicious" else _RARE)


def class_shares(dataset: Dataset, rows: np.ndarray, task: str) -> tuple[np.ndarray, np.ndarray]:
    """The share (classes,) of each class in the windows ``rows``, as `weights` have it in training, and as it is where
    only repositories are weighed."""
    labels = dataset.targets()[task][rows]
    known = labels != MISSING
    found = []
    for rare in (_RARE, 0.0):
        weight = _weights(dataset, rows, task, rare)[known]
        total = np.bincount(labels[known], weight, minlength=dataset.classes(task))
        found.append(total / max(total.sum(), 1e-9))
    return found[0], found[1]


def _weights(dataset: Dataset, rows: np.ndarray, task: str, rare: float) -> np.ndarray:
    labels = dataset.targets()[task][rows]
    known = np.flatnonzero(labels != MISSING)
    found = np.zeros(len(rows))
    if not len(known):
        return found
    repository = np.unique(dataset.sources, return_inverse=True)[1][dataset.capture[rows[known]]]
    _, group, count = np.unique(
        repository * dataset.classes(task) + labels[known], return_inverse=True, return_counts=True
    )
    weight = 1 / np.sqrt(count[group])
    total = np.bincount(labels[known], weight, minlength=dataset.classes(task))
    weight /= total[labels[known]] ** rare
    found[known] = weight * len(known) / weight.sum()
    return found
