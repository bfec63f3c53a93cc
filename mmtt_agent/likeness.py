"""How alike two windows are to the network: its answers to all tasks as one short vector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

#: Numbers of a vector. Enough to tell windows of a pair of hosts from others' nearly as well as all answers do.
WIDTH = 16
# Of the directions. Evidence over connections is fitted on vectors of these.
_SEED = 17


def likeness(answers: Sequence[np.ndarray]) -> np.ndarray:
    """Vectors whose dot product says how alike windows are.

    Square roots of probabilities are a unit vector per task, and their dot product is 1 for the same answer and 0 for
    answers that have nothing in common: logits need to be centred and scaled for that, by figures of their own.

    Args:
        answers: the probabilities of each task, (n, labels).

    Returns:
        float32 (n, WIDTH), of length 1 (0 where a network says no number at all).
    """
    roots = np.sqrt(np.concatenate(answers, axis=1))
    vectors = roots @ _directions(roots.shape[1])
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    unit: np.ndarray = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


@cache
def _directions(labels: int) -> np.ndarray:
    """Fixed random directions, (labels, WIDTH). numpy promises that this generator's numbers stay what they are."""
    return np.random.RandomState(_SEED).standard_normal((labels, WIDTH))
