"""How well an application that the model has never seen is told from those it knows, with classes left out of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mmtt_agent.classifier import energy

from ..config import Config
from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..network.architecture import Architecture
from ..training.train import infer
from ..training.trainings import Trainings
from . import evaluate


def max_probability(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(n, classes) -> (n,): how unknown a window is by the highest of its probabilities (Hendrycks and Gimpel 2017)."""
    return -evaluate.softmax(logits / temperature).max(axis=1)


MEASURES = {"highest probability": max_probability, "energy": energy}


@dataclass(frozen=True)
class Part:
    """A part of the applications that a model was trained without: their ``names``, and by measure the AUROC of telling their
    windows from the others', on the test captures and on the validation captures; NaN where there are none of one kind."""

    names: list[str]
    test: dict[str, float]
    validation: dict[str, float]


def better(parts: list[Part]) -> str:
    """The measure that is better on the validation captures, on average; the probability where nothing tells them apart."""
    told = [part.validation for part in parts if np.isfinite(list(part.validation.values())).all()]
    return max(MEASURES, key=lambda measure: sum(each[measure] for each in told))


def left_out(
    config: Config, architecture: Architecture, dataset: Dataset, trainings: Trainings
) -> Callable[[], list[Part]]:
    """Begin the trainings; what is returned gives what is found of each part of the applications. Parts without test windows
    are not there."""
    folds, begun = config.evaluation.class_folds, []
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


def _found(dataset: Dataset, begun: list) -> list[Part]:
    names, result = list(dataset.applications), []
    for gone, training in begun:
        model = training()
        scores, temperature = {}, 1.0
        for split in ("validation", "test"):
            rows = dataset.rows(split)
            rows = rows[dataset.application[rows] != MISSING]
            unseen = np.isin(dataset.application[rows], gone)
            # The answers that were never right are none.
            logits = np.delete(infer(model, dataset.series[rows])["application"], gone, axis=1)
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
