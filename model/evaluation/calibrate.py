"""How sure an answer must be: temperatures and thresholds, from answers for sites that a model had not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mmtt_agent.classifier import energy

from ..config import Decision
from ..data.dataset import Dataset
from ..data.labels import MISSING
from . import evaluate

#: Shares of the harmless windows that a bundle has thresholds for, besides the configuration's own.
SHARES = (0.01, 0.001)


@dataclass(frozen=True)
class Calibration:
    """What a bundle says of how sure an answer must be.

    Attributes:
        temperatures: by task; divides the logits so that the probabilities are right on average (Guo et al. 2017).
        thresholds: by task, the least probability.
        energies: service and application, where answers hang on it: the highest that still gets one.
        false_positives: thresholds for malicious by the share of harmless windows they flag ("1%"), the largest first.
    """

    temperatures: dict[str, float]
    thresholds: dict[str, float]
    false_positives: dict[str, float]
    energies: dict[str, float] = field(default_factory=dict)


def calibrate(
    decision: Decision,
    dataset: Dataset,
    rows: np.ndarray,
    logits: dict[str, np.ndarray],
    by_energy: tuple[str, ...] = (),
) -> Calibration:
    """From the windows ``rows`` and their logits, by models that had not seen their sites. The tasks ``by_energy``
    abstain by that."""
    temperatures: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    false_positives: dict[str, float] = {}
    energies: dict[str, float] = {}
    for task, values in dataset.targets().items():
        known = values[rows] != MISSING
        labels, output = values[rows][known], logits[task][known]
        temperatures[task] = round(evaluate.fit_temperature(labels, output), 4)
        if task == "malicious":
            scores = evaluate.sigmoid(output / temperatures[task]).round(4)
            for share in sorted({decision.false_positives, *SHARES}, reverse=True):
                threshold = evaluate.threshold_at(labels, scores, share)
                # Rounded up, as verdicts carry four decimals.
                false_positives[_percent(share)] = min(1.0, math.ceil(threshold * 10_000) / 10_000)
            thresholds[task] = false_positives[_percent(decision.false_positives)]
        else:
            probability = evaluate.softmax(output / temperatures[task])
            right = probability.argmax(axis=1) == labels
            threshold = evaluate.abstention_threshold(right, probability.max(axis=1), decision.accuracy)
            thresholds[task] = math.floor(threshold * 10_000) / 10_000
            if task in by_energy and len(labels):
                sure = -energy(output, temperatures[task])
                most = -evaluate.abstention_threshold(right, sure, decision.accuracy)
                energies[task] = math.ceil(most * 10_000) / 10_000
    return Calibration(temperatures, thresholds, false_positives, energies)


def decisions(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], calibration: Calibration
) -> evaluate.Figures:
    """What the thresholds do to ``rows``.

    Returns:
        Services and applications: the share "answered", and the "accuracy" of those answers. Malicious: "recall"
        and the share of "false_positives"; the same for each threshold that may be chosen under "at"; and both by
        source under "by_source", as (flagged, windows).
    """
    result: evaluate.Figures = {}
    thresholds = calibration.thresholds
    source = np.array([dataset.sources[c] for c in dataset.capture[rows].tolist()])
    for task, values in dataset.targets().items():
        known = values[rows] != MISSING
        labels, output = values[rows][known], logits[task][known] / calibration.temperatures[task]
        if task == "malicious":
            scores = evaluate.sigmoid(output).round(4)
            flagged = scores >= thresholds[task]
            result[task] = {
                **_flags(labels, flagged),
                "at": {
                    share: _flags(labels, scores >= threshold)
                    for share, threshold in calibration.false_positives.items()
                },
                "by_source": {
                    kind: {
                        str(name): (int(flagged[inside].sum()), int(inside.sum()))
                        for name in np.unique(source[known][labels == value])
                        for inside in [(source[known] == name) & (labels == value)]
                    }
                    for kind, value in (("malicious", 1), ("harmless", 0))
                },
            }
        else:
            probability = evaluate.softmax(output)
            given = probability.max(axis=1).round(4) >= thresholds[task]
            if task in calibration.energies:
                given = (
                    energy(logits[task][known], calibration.temperatures[task]).round(4) <= calibration.energies[task]
                )
            right = probability.argmax(axis=1) == labels
            result[task] = {"answered": evaluate.mean(given), "accuracy": evaluate.mean(right[given])}
        if task == "malicious_kind":
            # Only what is flagged is given a kind.
            flagged = evaluate.sigmoid(logits["malicious"][known] / calibration.temperatures["malicious"]).round(4)
            given &= flagged >= thresholds["malicious"]
            result[task] = {"answered": evaluate.mean(given), "accuracy": evaluate.mean(right[given])}
    return result


def _flags(labels: np.ndarray, flagged: np.ndarray) -> dict[str, float]:
    return {"recall": evaluate.mean(flagged[labels == 1]), "false_positives": evaluate.mean(flagged[labels == 0])}


def _percent(share: float) -> str:
    """0.001 -> "0.1%", as bundles, options and settings spell it."""
    return f"{100 * share:.4f}".rstrip("0").rstrip(".") + "%"
