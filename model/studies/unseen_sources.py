"""How well what is malicious is told where the whole repository is unknown: ours and LightGBM, each trained without
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .. import systems
from ..config import Config
from ..data.dataset import Dataset
from ..data.lab_windows import LAB
from ..data.labels import MISSING
from ..data.split import SPLITS, split_recordings
from ..evaluation import evaluate
from ..network.architecture import Architecture, Network
from ..network.infer import infer
from ..training.trainings import Trainings


class _Fold(NamedTuple):
    """The trainings without some of the repositories, and the data set whose test windows are of these."""

    parted: Dataset
    our_name: str
    ours: Callable[[], Network]
    their_name: str
    trees: Callable[[], dict[str, np.ndarray] | None]


def left_out(
    config: Config, architecture: Architecture, datasets: dict[str, Dataset], trainings: Trainings
) -> Callable[[], dict[str, list[evaluate.Figures]]]:
    """Begin trainings without whole repositories; what is returned gives the scores on malicious, ours and LightGBM's,
    one entry per fold. What was trained on the first of ``datasets`` is called by its name alone."""
    folds = config.evaluation.source_folds
    begun: list[_Fold] = []
    if not config.evaluation.without_lab:
        datasets = dict(list(datasets.items())[:1])
    for on, dataset in datasets.items() if folds else ():
        trained_on = f", trained on {on}" if begun else ""
        names = sorted({source for source in dataset.sources if source != LAB})
        source = np.array([MISSING if name == LAB else names.index(name) for name in dataset.sources])[dataset.capture]
        known = np.flatnonzero((dataset.malicious != MISSING) & (source != MISSING))
        fold_of = np.full(len(dataset), MISSING)
        fold_of[known] = split_recordings(
            source[known], [dataset.malicious[known]], names, (1.0,) * folds, config.data.split_seed
        )
        for fold in range(folds):
            left_out = fold_of == fold
            split = np.where(dataset.split == SPLITS.index("validation"), 1, 0)
            # A copy of a left-out recording in another repository teaches nothing either.
            split[np.isin(dataset.recording, dataset.recording[left_out])] = MISSING
            split[left_out] = SPLITS.index("test")
            parted = dataclasses.replace(dataset, split=split)
            name = f"without sources {fold + 1} of {folds}{trained_on}"
            begun.append(_Fold(
                parted,
                config.compared_name() + trained_on, trainings.begin(name, config.compared(), architecture, parted),
                f"LightGBM{trained_on}",
                trainings.start(systems.boosted_trees, parted, *(parted.rows(each) for each in SPLITS), ("malicious",)),
            ))  # fmt: skip
    return partial(_found, begun)


def _found(begun: list[_Fold]) -> dict[str, list[evaluate.Figures]]:
    result: dict[str, list[evaluate.Figures]] = {}
    for parted, our_name, ours, their_name, trees in begun:
        rows = parted.rows("test")
        answers = {our_name: infer(ours(), parted.series[rows])["malicious"]}
        theirs = trees()
        if theirs is not None:
            answers[their_name] = theirs["malicious"]
        for by, logits in answers.items():
            scores = evaluate.malicious_scores(parted, rows, logits, 1.0)
            scores["repositories"] = sorted({parted.sources[capture] for capture in parted.capture[rows].tolist()})
            result.setdefault(by, []).append(scores)
    return result
