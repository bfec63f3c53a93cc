"""Answers for sites that a model has not seen: the sites of training and validation in parts, each left out of a
training of its own. Temperatures and thresholds come from them, for it is on such networks that they must hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from mmtt_agent.series import SeriesBatch

from ..config import Config
from ..data.dataset import Dataset
from ..data.lab_windows import lab_rows
from ..data.labels import MISSING
from ..data.split import SPLITS, split_groups
from ..network.architecture import TASKS, Architecture, Network
from ..network.infer import infer
from ..training.trainings import Trainings

#: Rows of a data set, and their logits by task.
Answers = tuple[np.ndarray, dict[str, np.ndarray]]


def left_out(
    config: Config, architecture: Architecture, dataset: Dataset, trainings: Trainings
) -> Callable[[], Answers]:
    """Begin the trainings; what is returned gives the windows of training and validation that count in a score, and the
    answers of the models that had not seen their sites."""
    folds = config.evaluation.site_folds
    parts = site_parts(dataset, folds)
    begun: list[tuple[Dataset, Callable[[], Network]]] = []
    for fold in range(folds):
        split = np.where(dataset.split == SPLITS.index("test"), MISSING, SPLITS.index("train"))
        split[parts == fold] = SPLITS.index("test")
        # The schedule is fixed, so nothing is chosen by validation, and none is kept back. Of windows without labels it
        # is not known whether they are of the sites left out.
        parted = dataclasses.replace(
            dataset, split=split, unlabelled=SeriesBatch.empty(), unlabelled_timed=np.zeros(0, bool)
        )
        begun.append((parted, trainings.begin(f"without sites {fold + 1} of {folds}", config, architecture, parted)))
    return partial(_found, begun)


def site_parts(dataset: Dataset, parts: int) -> np.ndarray:
    """int64 (n,): the part of each window of training and validation, by its site; MISSING for the others."""
    rows = np.flatnonzero((dataset.split != SPLITS.index("test")) & ~lab_rows(dataset))
    result = np.full(len(dataset), MISSING)
    result[rows] = split_groups(
        dataset.site[rows], [values[rows] for values in dataset.targets().values()], dataset.sites, (1.0,) * parts, 7
    )
    return result


def _found(begun: list[tuple[Dataset, Callable[[], Network]]]) -> Answers:
    every, answers = [], []
    for parted, training in begun:
        rows = parted.rows("test")
        every.append(rows)
        answers.append(infer(training(), parted.series[rows], parted.timed[rows]))
    return np.concatenate(every), {task: np.concatenate([each[task] for each in answers]) for task in TASKS}
