"""What a split by capture hides: the same training and test with captures shared out, not sites, so that most test
windows are of networks that training knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from ..config import Config
from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.split import SPLITS, split_groups
from ..evaluation import evaluate
from ..network.architecture import TASKS, Architecture, Network
from ..network.infer import infer
from ..training.trainings import Trainings


def begin(
    config: Config, architecture: Architecture, dataset: Dataset, trainings: Trainings
) -> Callable[[], dict[str, evaluate.Figures]]:
    """Begin the training; what is returned gives its scores on its own test captures, by part."""
    # The lab's windows are for training alone here, too.
    real = np.flatnonzero(~lab_rows(dataset))
    split = np.full(len(dataset), SPLITS.index("train"))
    split[real] = split_groups(
        dataset.recording[real],
        [values[real] for values in (dataset.service, dataset.application, dataset.malicious)],
        dataset.captures,
        config.data.shares,
        config.data.split_seed,
    )
    parted = dataclasses.replace(dataset, split=split)
    return partial(_found, parted, trainings.begin("split by capture", config, architecture, parted))


def _found(parted: Dataset, training: Callable[[], Network]) -> dict[str, evaluate.Figures]:
    test = parted.rows("test")
    logits = infer(training(), parted.series[test], parted.timed[test])
    return evaluate.by_part(parted, test, logits, dict.fromkeys(TASKS, 1.0))
