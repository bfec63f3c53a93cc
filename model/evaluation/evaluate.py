"""Scores: of logits against labels, one function each, in numpy. Rows without a label are the caller's to leave out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..data.labels import MISSING, TRANSPORTS

#: Numbers by name, in dicts within dicts.
Figures = dict[str, Any]
#: Sites from which on a class's score is more than chance.
MANY = 3


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes that occur among the labels; each class counts the same."""
    scores = list(f1_by_class(labels, predicted).values())
    return float(np.mean(scores)) if scores else float("nan")


def f1_by_class(labels: np.ndarray, predicted: np.ndarray) -> dict[int, float]:
    """F1 of each class that occurs among the labels."""
    scores = {}
    for each in np.unique(labels).tolist():
        right = np.sum((predicted == each) & (labels == each))
        scores[each] = float(2 * right / (np.sum(predicted == each) + np.sum(labels == each)))
    return scores


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half. NaN without both."""
    positive, negative = scores[labels == 1], np.sort(scores[labels == 0])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / 2 / len(negative))


def threshold_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """The least threshold (flagged: score >= threshold) that flags at most that share of the negatives."""
    negative = np.sort(scores[labels == 0])[::-1]
    if not len(negative):
        return 1.0
    allowed = int(false_positives * len(negative))
    return float(np.nextafter(negative[min(allowed, len(negative) - 1)], np.inf))


def recall_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """Share of the positives flagged where at most that share of the negatives is. NaN without both."""
    if not (labels == 1).any() or not (labels == 0).any():
        return float("nan")
    return float((scores[labels == 1] >= threshold_at(labels, scores, false_positives)).mean())


def calibration_error(right: np.ndarray, confidence: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy, over bins of equal width."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    total = 0.0
    for each in np.unique(place):
        inside = place == each
        total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total / max(len(right), 1))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability: np.ndarray = exponent / exponent.sum(axis=1, keepdims=True)
    return probability


def sigmoid(logits: np.ndarray) -> np.ndarray:
    probability: np.ndarray = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return probability


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """What to divide logits by so that the labels are likeliest: (n, classes) or, for a yes/no answer, (n,)."""
    if not len(labels):
        return 1.0
    candidates = np.geomspace(0.25, 8, 121)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        if scaled.ndim == 1:
            return float(np.mean(np.logaddexp(0, np.where(labels == 1, -scaled, scaled))))
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))

    return float(min(candidates, key=loss))


def abstention_threshold(right: np.ndarray, confidence: np.ndarray, accuracy: float) -> float:
    """The least threshold above which answers are right as often as ``accuracy``; if none is, the one that keeps the
    surest tenth."""
    if not len(right):
        return 0.5
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    # Fewer than this are too few to tell an accuracy from.
    least = max(20, len(order) // 10)
    good = [n for n in range(least, len(order) + 1) if share[n - 1] >= accuracy]
    keep = max(good) if good else min(least, len(order))
    return float(confidence[order[keep - 1]])


def scores(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], temperatures: dict[str, float]
) -> Figures:
    """All figures for the windows ``rows``; ``logits`` are theirs, by task.

    Returns:
        task -> figures; "by_class" holds F1, windows and sites per class, "macro_f1_many" is the mean over the classes
        of at least MANY sites.
    """
    result: Figures = {}
    targets = dataset.targets()
    for task, names in (
        ("service", dataset.services),
        ("application", list(dataset.applications)),
        ("malicious_kind", dataset.kinds),
    ):
        known = targets[task][rows] != MISSING
        if not known.any():
            result[task] = {"windows": 0}
            continue
        labels = targets[task][rows][known]
        sites = dataset.site[rows][known]
        probability = softmax(logits[task][known] / temperatures[task])
        predicted = probability.argmax(axis=1)
        right = predicted == labels
        by_class = {
            names[each]: {
                "f1": f1,
                "windows": int((labels == each).sum()),
                "sites": len(np.unique(sites[labels == each])),
            }
            for each, f1 in f1_by_class(labels, predicted).items()
        }
        result[task] = {
            "windows": int(known.sum()),
            "sites": len(np.unique(sites)),
            "macro_f1": macro_f1(labels, predicted),
            "macro_f1_many": mean([each["f1"] for each in by_class.values() if each["sites"] >= MANY]),
            "accuracy": float(right.mean()),
            "calibration_error": calibration_error(right, probability.max(axis=1)),
            "by_class": by_class,
        }
    result["malicious"] = malicious_scores(dataset, rows, logits["malicious"], temperatures["malicious"])
    return result


def mean(values: np.ndarray | list[float]) -> float:
    """NaN where there are none."""
    return float(np.mean(values)) if len(values) else float("nan")


def malicious_scores(dataset: Dataset, rows: np.ndarray, logits: np.ndarray, temperature: float) -> Figures:
    """The figures of the malicious task for the windows ``rows``, whose logits are ``logits`` (n,)."""
    known = dataset.malicious[rows] != MISSING
    labels = dataset.malicious[rows][known]
    probability = sigmoid(logits[known] / temperature)
    return {
        "windows": int(known.sum()),
        "sites": len(np.unique(dataset.site[rows][known])),
        "positives": int((labels == 1).sum()),
        "auroc": auroc(labels, probability),
        "recall_at_1_percent": recall_at(labels, probability, 0.01),
        "recall_at_0.1_percent": recall_at(labels, probability, 0.001),
        "calibration_error": calibration_error(labels, probability) if len(labels) else float("nan"),
    }


def parts(dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Which of ``rows`` (bool) are of all flows, of the encrypted ones, and of each transport."""
    transport = dataset.transport[rows]
    return {"all": np.ones(len(rows), bool), "encrypted": transport > 0} | {
        name: transport == number for number, name in enumerate(TRANSPORTS)
    }


def within(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, dict[str, np.ndarray]]]:
    """The rows of each of `parts`, and their logits."""
    return {
        name: (rows[part], {task: values[part] for task, values in logits.items()})
        for name, part in parts(dataset, rows).items()
    }


def by_part(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], temperatures: dict[str, float]
) -> dict[str, Figures]:
    """`scores` for each of `parts`."""
    return {
        name: scores(dataset, inside, theirs, temperatures)
        for name, (inside, theirs) in within(dataset, rows, logits).items()
    }


def site_intervals(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], times: int = 300
) -> dict[str, dict[str, tuple[float, float]]]:
    """Task -> figure -> its 95 % interval over sites drawn anew, with replacement, so many ``times`` (bootstrap by
    clusters): how much hangs on which networks are in the test. Empty where there is no window."""
    if not len(rows):
        return {}
    rng = np.random.default_rng(1)
    site = dataset.site[rows]
    members = [np.flatnonzero(site == each) for each in np.unique(site)]
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(times):
        drawn = np.concatenate([members[each] for each in rng.integers(0, len(members), len(members))])
        for task in ("service", "application"):
            labels = dataset.targets()[task][rows[drawn]]
            known = labels != MISSING
            predicted = logits[task][drawn][known].argmax(axis=1)
            found.setdefault((task, "macro_f1"), []).append(macro_f1(labels[known], predicted))
            found.setdefault((task, "accuracy"), []).append(mean(predicted == labels[known]))
        labels = dataset.malicious[rows[drawn]]
        known = labels != MISSING
        output = logits["malicious"][drawn][known]
        found.setdefault(("malicious", "auroc"), []).append(auroc(labels[known], output))
        found.setdefault(("malicious", "recall_at_1_percent"), []).append(recall_at(labels[known], output, 0.01))
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for (task, figure), values in found.items():
        low, high = np.nanpercentile(values, (2.5, 97.5)) if np.isfinite(values).any() else (np.nan, np.nan)
        result.setdefault(task, {})[figure] = (float(low), float(high))
    return result


def coverage(dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray]) -> dict[str, dict[int, float]]:
    """Accuracy of the surest 25, 50, 75 and 100 % of the answers, by task."""
    result = {}
    for task in ("service", "application"):
        labels = dataset.targets()[task][rows]
        known = labels != MISSING
        output = logits[task][known]
        # The order of the highest probabilities does depend on the temperature, but hardly.
        right = (output.argmax(axis=1) == labels[known])[np.argsort(-softmax(output).max(axis=1), kind="stable")]
        result[task] = {
            share: float(right[: max(1, len(right) * share // 100)].mean()) if len(right) else float("nan")
            for share in (25, 50, 75, 100)
        }
    return result


def mean_and_interval(values: list[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval (Student's t; NaN for a single value)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan")
    t = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)[min(len(values), 10) - 2]
    return mean, t * float(np.std(values, ddof=1)) / len(values) ** 0.5


def headline(figures: Figures, tasks: tuple[str, ...]) -> float:
    """One number to choose a model by: the mean of the two macro-F1 and the AUROC, those of ``tasks`` that exist."""
    values = [
        figures[task].get("auroc" if task == "malicious" else "macro_f1", np.nan)
        for task in tasks
        if task != "malicious_kind"
    ]
    values = [value for value in values if np.isfinite(value)]
    return float(np.mean(values)) if values else 0.0
