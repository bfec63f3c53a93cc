"""The second model's weights: a logistic regression over a few features, its signs and a guess of its weights given
beforehand, in which no site decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmtt_agent.incidents import UnitModel
from mmtt_agent.incidents.features import FEATURES

from ..evaluation.evaluate import sigmoid
from .evidence import Evidence


@dataclass(frozen=True)
class Input:
    """A feature that a model reads.

    Attributes:
        guess: its weight for one standard deviation more, before any data.
        sign: 1 or -1 where reason says which way it points, else 0.
        given: its weight is not fitted, but ``guess`` for the feature as it is: no label tells of it.
    """

    name: str
    guess: float
    sign: int = 1
    given: bool = False


#: What each model reads. The choice was made by cross-validation over sites (docs/research/incidents.md); what helps
#: nothing is not read, though the agent has it.
INPUTS: Mapping[str, Sequence[Input]] = {
    "pair": (
        Input("mean", 0.7),
        Input("number", 0.4),
        Input("beside_orig", 0.5),
        Input("beside_resp", 0.5),
        Input("fan_resp", 0.4),
        Input("exploit", 0.3),
        Input("udp", -0.4, -1),
        Input("outward", 0.0, 0),
    ),
    "originator": (
        Input("mean", 0.8),
        Input("number", 0.3),
        Input("fan", 0.2),
        Input("failed", 0.2),
        Input("exploit", 0.2),
        # Connections that nobody answers have no label. This much makes a host that has sought 500 others an incident,
        # whatever else it does.
        Input("scan", 4.0, given=True),
    ),
    "responder": (Input("mean", 0.8), Input("number", 0.3), Input("fan", 0.3), Input("exploit", 0.3)),
}
#: How strongly weights are held to the guesses, beside the mean loss.
PRIOR = 0.003
# Steps of the fit: far more than it needs.
_STEPS = 2_000


def fit(evidence: Evidence, rows: np.ndarray, inputs: Sequence[Input], prior: float = PRIOR) -> UnitModel:
    """A model of the units ``rows``, by what they were judged by in the end; without thresholds and what is given.

    Of each label a site counts by the root of how many units it has, and both labels count the same.
    """
    inputs = [each for each in inputs if not each.given]
    names = [FEATURES.index(each.name) for each in inputs]
    features = evidence.last[rows][:, names]
    label = evidence.label[rows]
    weight = site_weights(evidence.site[rows], label)
    mean = weight @ features
    spread = np.sqrt(weight @ (features - mean) ** 2)
    # A feature that is the same everywhere says nothing.
    spread = np.where(spread > 1e-9, spread, 1.0)
    weights, bias = _descend((features - mean) / spread, label, weight, inputs, prior)
    found = weights / spread
    return UnitModel(
        float(bias - found @ mean),
        {each.name: float(value) for each, value in zip(inputs, found, strict=True)},
        {},
    )


def site_weights(site: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(n,), adding up to 1: half for each label there is, and of that to each site by the root of its units."""
    weight = np.zeros(len(site))
    labels = np.unique(label)
    for each in labels.tolist():
        inside = label == each
        _, group, count = np.unique(site[inside], return_inverse=True, return_counts=True)
        root = 1 / np.sqrt(count[group])
        weight[inside] = root / root.sum() / len(labels)
    return weight


def _descend(
    features: np.ndarray, label: np.ndarray, weight: np.ndarray, inputs: Sequence[Input], prior: float
) -> tuple[np.ndarray, float]:
    """The weights, each within its sign, and the bias that make the labels likeliest: steps down the gradient, each
    made up for by the ones before (FISTA), cut off at 0 where the sign says so.
    """
    guess = np.array([each.guess for each in inputs])
    low = np.array([0.0 if each.sign > 0 else -np.inf for each in inputs] + [-np.inf])
    high = np.array([0.0 if each.sign < 0 else np.inf for each in inputs] + [np.inf])
    padded = np.append(features, np.ones((len(features), 1)), 1)
    held = np.append(np.full(len(inputs), prior), 0.0)
    to = np.append(guess, 0.0)
    # No curvature is greater.
    step = 1 / (float(np.linalg.eigvalsh((padded * weight[:, None]).T @ padded)[-1]) / 4 + 2 * prior)
    now = before = to
    pace = 1.0
    for _ in range(_STEPS):
        next_pace = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = now + (pace - 1) / next_pace * (now - before)
        wrong = weight * (sigmoid(padded @ ahead) - label)
        gradient = padded.T @ wrong + 2 * held * (ahead - to)
        before, now, pace = now, np.clip(ahead - step * gradient, low, high), next_pace
    return now[:-1], float(now[-1])
