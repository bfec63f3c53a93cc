"""Soft labels by gradient-boosted trees, for the network to learn from beside the labels (Hinton et al. 2015).

On a few thousand windows trees generalise better than a network; what they make of a window says more than its label.
Each window's teacher has not seen that window's recording (cross-fitting): else it would only repeat the labels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import peers
from .architecture import TASKS
from .config import ConfigError
from .dataset import Dataset
from .split import split_recordings

FOLDS = 4


def soft_labels(dataset: Dataset, cache: Path, say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Logits by task for every window of the training part, as (n, classes) or (n,) arrays over the whole data set; zero
    elsewhere. Kept in the file `cache` for a run that is taken up again.

    Raises:
        ConfigError: LightGBM is not installed.
    """
    key = dataset.digest()
    try:
        with np.load(cache) as stored:
            if str(stored["key"]) == key:
                return {task: stored[task] for task in TASKS}
    except (OSError, ValueError, KeyError):
        pass
    train, validation = dataset.rows("train"), dataset.rows("validation")
    fold = split_recordings(
        dataset.recording[train], [values[train] for values in dataset.targets().values()], dataset.captures,
        (1.0,) * FOLDS, 11,
    )  # fmt: skip
    result: dict[str, np.ndarray] = {}
    for each in range(FOLDS):
        say(f"teaching trees, {each + 1} of {FOLDS}")
        seen, taught = train[fold != each], train[fold == each]
        logits = peers.boosted_trees(dataset, seen, validation, taught, TASKS)
        if logits is None:
            raise ConfigError("training.teacher needs LightGBM; type: pip install lightgbm, or set it to 0")
        for task, values in logits.items():
            result.setdefault(task, np.zeros((len(dataset), *values.shape[1:]), np.float32))[taught] = values
    new = cache.with_name(f".{cache.name}.new.npz")
    np.savez_compressed(new, key=key, **result)
    os.replace(new, cache)
    return result
