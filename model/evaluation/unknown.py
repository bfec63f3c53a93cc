"""How an application that the model has never seen is told from those it knows: measures, and which is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmtt_agent.classifier import energy

from . import evaluate


def max_probability(logits: np.ndarray, temperature: float) -> np.ndarray:
    """(n, classes) -> (n,): how unknown a window is by the highest of its probabilities (Hendrycks and Gimpel 2017)."""
    highest: np.ndarray = evaluate.softmax(logits / temperature).max(axis=1)
    return -highest


MEASURES = {"highest probability": max_probability, "energy": energy}


@dataclass(frozen=True)
class Part:
    """A part of the applications that a model was trained without: their ``names``, and by measure the AUROC of telling
    their windows from the others', on the test sites and on the validation sites; NaN where there are none of one
    kind."""

    names: list[str]
    test: dict[str, float]
    validation: dict[str, float]


def better(parts: list[Part]) -> str:
    """The measure that is better on the validation sites, on average; the probability where nothing tells them
    apart.
    """
    told = [part.validation for part in parts if np.isfinite(list(part.validation.values())).all()]
    return max(MEASURES, key=lambda measure: sum(each[measure] for each in told))
