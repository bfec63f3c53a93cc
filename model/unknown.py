"""How well an application that the model has never seen is told from those it knows, with classes left out of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import evaluate
from .architecture import Architecture
from .config import Config
from .dataset import Dataset
from .labels import MISSING
from .train import fit, infer


def max_probability(logits: np.ndarray) -> np.ndarray:
    """(n, classes) -> (n,): how unknown a window is by the highest of its probabilities (Hendrycks and Gimpel 2017)."""
    return -evaluate.softmax(logits).max(axis=1)


def energy(logits: np.ndarray) -> np.ndarray:
    """(n, classes) -> (n,): how unknown a window is by its free energy (Liu et al., NeurIPS 2020)."""
    most = logits.max(axis=1)
    return -(most + np.log(np.exp(logits - most[:, None]).sum(axis=1)))


MEASURES = {"highest probability": max_probability, "energy": energy}


def left_out(
    config: Config, architecture: Architecture, dataset: Dataset, out: Path, say: Callable[[str], None]
) -> dict[str, list[tuple[list[str], float]]]:
    """Per measure, for each part of the applications: their names, and the AUROC of telling their test windows from the others'
    by a model that was trained without their label. Parts without test windows are not there."""
    folds, result = config.evaluation.class_folds, {}
    names = list(dataset.applications)
    part_of = np.random.default_rng(config.data.split_seed).permutation(len(names)) % folds if folds else np.zeros(0)
    test = dataset.rows("test")
    labels = dataset.application[test]
    for fold in range(folds):
        gone = np.flatnonzero(part_of == fold)
        unseen, known = np.isin(labels, gone), labels != MISSING
        if not unseen.any() or not (known & ~unseen).any():
            continue
        application = np.where(np.isin(dataset.application, gone), MISSING, dataset.application)
        say(f"training without {len(gone)} applications, part {fold + 1} of {folds}")
        model, _ = fit(config, architecture, dataclasses.replace(dataset, application=application),
                       out / f"checkpoint-classes{fold + 1}.safetensors", say)
        # The answers that were never right are none.
        logits = np.delete(infer(model, dataset.series[test])["application"], gone, axis=1)
        for name, measure in MEASURES.items():
            score = evaluate.auroc(unseen[known].astype(int), measure(logits[known]))
            result.setdefault(name, []).append(([names[each] for each in gone], score))
    return result
