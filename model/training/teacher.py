"""Soft labels by gradient-boosted trees, and a larger network beside them where one is asked for, for the network to
learn from beside the labels (Hinton et al. 2015).

On few sites trees generalise better than a network; what they make of a window says more than its label.
Each window's teacher has not seen that window's site (cross-fitting): else it would only repeat the labels.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import systems
from ..config import Config, ConfigError, Training
from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..data.split import SPLITS, split_groups
from ..evaluation import evaluate
from ..network.architecture import TASKS, Architecture, Network
from ..network.infer import infer
from .train import Build, fit

FOLDS = 4
#: What trees teach: where they are ahead of the network on sites that neither has seen.
TAUGHT = ("malicious",)
#: Of the network that teaches. One teacher serves all seeds, and the models that learn one task alone.
_SEED = 1


def soft_labels(
    config: Config, dataset: Dataset, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, np.ndarray], float]:
    """Logits, by task of TAUGHT, for every window of the training part, as (n, classes) or (n,) arrays over the whole
    data set, zero elsewhere; and the seconds that they took. Kept in ``folder`` for whoever else learns from the same
    windows, in this process or, meanwhile, in another.

    Raises:
        ConfigError: LightGBM is not installed.
    """
    settings = dataclasses.replace(
        config.training,
        teacher=0.0,
        teacher_network={},
        **{task: getattr(Training, task) for task in TASKS},
    )
    network = config.training.teacher_network
    told = (dataset.digest(), network, settings if network else None)
    cache = folder / f"teacher-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}.npz"
    with cache.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            with np.load(cache) as stored:
                return {task: stored[task] for task in TAUGHT}, float(stored["seconds"])
        except (OSError, ValueError, KeyError):
            pass
        begun = time.monotonic()
        train, validation = dataset.rows("train"), dataset.rows("validation")
        fold = split_groups(
            dataset.site[train], [values[train] for values in dataset.targets().values()], dataset.sites,
            (1.0,) * FOLDS, 11,
        )  # fmt: skip
        result: dict[str, np.ndarray] = {}
        for each in range(FOLDS):
            say(f"teaching trees, {each + 1} of {FOLDS}")
            seen, taught = train[fold != each], train[fold == each]
            logits = systems.boosted_trees(dataset, seen, validation, taught, TAUGHT)
            if logits is None:
                raise ConfigError("training.teacher needs LightGBM; type: pip install lightgbm, or set it to 0")
            if network:
                say(f"teaching a network, {each + 1} of {FOLDS}")
                found = _by_network(
                    dataclasses.replace(config, seed=_SEED, training=settings), Architecture(**network), dataset, seen,
                    taught, cache.with_suffix(f".network{each + 1}.safetensors"), say,
                )  # fmt: skip
                logits = {task: _mean(logits[task], found[task]) for task in TAUGHT}
            for task, values in logits.items():
                result.setdefault(task, np.zeros((len(dataset), *values.shape[1:]), np.float32))[taught] = values
        new = cache.with_name(f".{cache.name}.new.npz")
        seconds = time.monotonic() - begun
        kept: dict[str, Any] = {"seconds": seconds, **result}
        np.savez_compressed(new, **kept)
        os.replace(new, cache)
    return result, seconds


def fit_taught(
    config: Config,
    build: Architecture | Build,
    dataset: Dataset,
    checkpoint: Path,
    say: Callable[[str], None],
    tensorboard: Path | None = None,
) -> tuple[Network, float]:
    """`fit`, after the teacher that the configuration asks for, if it does; its answers are kept beside
    ``checkpoint``.
    """
    taught = soft_labels(config, dataset, checkpoint.parent, say)[0] if config.training.teacher else None
    return fit(config, build, dataset, checkpoint, say, tensorboard, taught)


def _by_network(
    config: Config,
    architecture: Architecture,
    dataset: Dataset,
    seen: np.ndarray,
    taught: np.ndarray,
    checkpoint: Path,
    say: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """Logits of ``taught`` by a network that was trained on ``seen``."""
    split = np.where(dataset.split == SPLITS.index("validation"), dataset.split, MISSING)
    split[seen] = SPLITS.index("train")
    model, _ = fit(config, architecture, dataclasses.replace(dataset, split=split), checkpoint, say)
    return infer(model, dataset.series[taught], dataset.timed[taught])


def _mean(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Logits of the mean of two answers' probabilities."""
    logits: np.ndarray
    if one.ndim == 1:
        mean = np.clip((evaluate.sigmoid(one) + evaluate.sigmoid(other)) / 2, 1e-6, 1 - 1e-6)
        logits = np.log(mean / (1 - mean))
    else:
        logits = np.log((evaluate.softmax(one) + evaluate.softmax(other)) / 2 + 1e-9)
    return logits
