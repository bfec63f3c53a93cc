"""How sure an answer must be: temperatures and thresholds, from the validation captures alone."""

from __future__ import annotations

import math

import numpy as np

from . import evaluate
from .config import Decision
from .dataset import Dataset
from .labels import MISSING


def calibrate(
    decision: Decision, dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray]
) -> tuple[dict[str, float], dict[str, float]]:
    """Temperatures and thresholds by task, from the validation windows ``rows`` and their logits.

    A temperature divides a task's logits so that the probabilities are right on average (Guo et al. 2017).
    """
    temperatures, thresholds = {}, {}
    for task, labels in dataset.targets().items():
        known = labels[rows] != MISSING
        labels, output = labels[rows][known], logits[task][known]
        temperatures[task] = round(evaluate.fit_temperature(labels, output), 4)
        if task == "malicious":
            scores = evaluate.sigmoid(output / temperatures[task]).round(4)
            threshold = evaluate.threshold_at(labels, scores, decision.false_positives)
            # Rounded up, as verdicts carry four decimals.
            thresholds[task] = min(1.0, math.ceil(threshold * 10_000) / 10_000)
        else:
            probability = evaluate.softmax(output / temperatures[task])
            right = probability.argmax(axis=1) == labels
            threshold = evaluate.abstention_threshold(right, probability.max(axis=1), decision.accuracy)
            thresholds[task] = math.floor(threshold * 10_000) / 10_000
    return temperatures, thresholds


def decisions(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], temperatures: dict, thresholds: dict
) -> dict:
    """What the thresholds do to ``rows``.

    Returns:
        Services and applications: the share "answered", and the "accuracy" of those answers. Malicious: "recall",
        the share of "false_positives", and both by source under "by_source", as (flagged, windows).
    """
    result = {}
    source = np.array([dataset.sources[c] for c in dataset.capture[rows].tolist()])
    for task, labels in dataset.targets().items():
        known = labels[rows] != MISSING
        labels, output = labels[rows][known], logits[task][known] / temperatures[task]
        if task == "malicious":
            flagged = evaluate.sigmoid(output).round(4) >= thresholds[task]
            result[task] = {
                "recall": _mean(flagged[labels == 1]),
                "false_positives": _mean(flagged[labels == 0]),
            }
            result[task]["by_source"] = {
                kind: {
                    str(name): (int(flagged[inside].sum()), int(inside.sum()))
                    for name in np.unique(source[known][labels == value])
                    for inside in [(source[known] == name) & (labels == value)]
                }
                for kind, value in (("malicious", 1), ("harmless", 0))
            }
        else:
            probability = evaluate.softmax(output)
            given = probability.max(axis=1).round(4) >= thresholds[task]
            right = probability.argmax(axis=1) == labels
            result[task] = {"answered": _mean(given), "accuracy": _mean(right[given])}
    return result


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
