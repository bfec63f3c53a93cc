"""How well an application that the model has never seen is told from those it knows, with classes left out of
training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from ..config import Config
from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..evaluation import evaluate
from ..evaluation.unknown import MEASURES, Part
from ..network.architecture import Architecture, Network
from ..network.infer import infer
from ..training.trainings import Trainings


def left_out(
    config: Config, architecture: Architecture, dataset: Dataset, trainings: Trainings
) -> Callable[[], list[Part]]:
    """Begin the trainings; what is returned gives what is found of each part of the applications. Parts without test
    windows are not there."""
    folds = config.evaluation.class_folds
    begun: list[tuple[np.ndarray, Callable[[], Network]]] = []
    names = list(dataset.applications)
    part_of = np.random.default_rng(config.data.split_seed).permutation(len(names)) % folds if folds else np.zeros(0)
    for fold in range(folds):
        gone = np.flatnonzero(part_of == fold)
        if not np.isin(dataset.application[dataset.rows("test")], gone).any():
            continue
        application = np.where(np.isin(dataset.application, gone), MISSING, dataset.application)
        known = dataclasses.replace(dataset, application=application)
        begun.append(
            (gone, trainings.begin(f"without applications {fold + 1} of {folds}", config, architecture, known))
        )
    return partial(_found, dataset, begun)


def _found(dataset: Dataset, begun: list[tuple[np.ndarray, Callable[[], Network]]]) -> list[Part]:
    names, result = list(dataset.applications), []
    for gone, training in begun:
        model = training()
        scores, temperature = {}, 1.0
        for split in ("validation", "test"):
            rows = dataset.rows(split)
            rows = rows[dataset.application[rows] != MISSING]
            unseen = np.isin(dataset.application[rows], gone)
            # The answers that were never right are none.
            logits = np.delete(infer(model, dataset.series[rows], dataset.timed[rows])["application"], gone, axis=1)
            if split == "validation":
                left = np.delete(np.arange(len(names)), gone)
                labels = np.searchsorted(left, dataset.application[rows][~unseen])
                temperature = evaluate.fit_temperature(labels, logits[~unseen])
            scores[split] = {
                name: evaluate.auroc(unseen.astype(int), measure(logits, temperature))
                for name, measure in MEASURES.items()
            }
        result.append(Part([names[each] for each in gone], scores["test"], scores["validation"]))
    return result
