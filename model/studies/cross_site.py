"""Answers for sites that a model has not seen: the sites of training and validation in parts, each left out of a
training of its own. Temperatures and thresholds come from them, for it is on such networks that they must hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class LeftOut:
    """The trainings that have begun, one for each part of the sites: the data set in which that part is the test, and
    what gives the network that has not seen it."""

    parts: list[tuple[Dataset, Callable[[], Network]]]

    def answers(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The windows of training and validation that count in a score, and their logits by task, each by the network
        that had not seen its site."""
        every, answers = [], []
        for parted, training in self.parts:
            rows = parted.rows("test")
            every.append(rows)
            answers.append(infer(training(), parted.series[rows], parted.timed[rows]))
        return np.concatenate(every), {task: np.concatenate([each[task] for each in answers]) for task in TASKS}


def left_out(config: Config, architecture: Architecture, dataset: Dataset, trainings: Trainings) -> LeftOut:
    """Begin the trainings."""
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
    return LeftOut(begun)


def site_parts(dataset: Dataset, parts: int) -> np.ndarray:
    """int64 (n,): the part of each window of training and validation, by its site; MISSING for the others."""
    rows = np.flatnonzero((dataset.split != SPLITS.index("test")) & ~lab_rows(dataset))
    result = np.full(len(dataset), MISSING)
    result[rows] = split_groups(
        dataset.site[rows], [values[rows] for values in dataset.targets().values()], dataset.sites, (1.0,) * parts, 7
    )
    return result
