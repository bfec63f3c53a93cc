"""What a model's scores hang on: how many packets it has seen, and which; what it takes for what; how sure it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmtt_agent.series import MAX_PAYLOAD_PACKETS, SeriesBatch

from ..data.dataset import Dataset
from ..data.labels import MISSING
from . import evaluate

#: Packets after which a verdict is tried; a window with fewer is not classified.
PACKETS = (4, 6, 8, 12, 16, 24, MAX_PAYLOAD_PACKETS)
#: The two halves of whole windows, as the card calls them.
HALVES = (
    f"packets 1 to {MAX_PAYLOAD_PACKETS // 2} of whole windows",
    f"packets {MAX_PAYLOAD_PACKETS // 2 + 1} to {MAX_PAYLOAD_PACKETS} of these",
)
_BINS = 10


def by_packets(
    dataset: Dataset,
    rows: np.ndarray,
    answer: Callable[[SeriesBatch, np.ndarray], dict[str, np.ndarray]],
    temperatures: dict[str, float],
) -> dict[int, evaluate.Figures]:
    """Packets -> scores of the windows that have all of 32, as they were after the first so many."""
    whole = rows[dataset.series.lengths[rows] == MAX_PAYLOAD_PACKETS]
    if not len(whole):
        return {}
    return {
        seen: evaluate.scores(
            dataset, whole, answer(dataset.series[whole].first(seen), dataset.timed[whole]), temperatures
        )
        for seen in PACKETS
    }


def mid_flow(
    dataset: Dataset,
    rows: np.ndarray,
    answer: Callable[[SeriesBatch, np.ndarray], dict[str, np.ndarray]],
    temperatures: dict[str, float],
) -> dict[str, evaluate.Figures]:
    """What is seen of a flow -> scores. Both halves of whole windows have the same flows and as many packets, but for
    one the capture began late; and the flows' own later windows stand beside the first windows of the same captures."""
    whole = rows[dataset.series.lengths[rows] == MAX_PAYLOAD_PACKETS]
    late = rows[dataset.window[rows] > 0]
    early = rows[(dataset.window[rows] == 0) & np.isin(dataset.capture[rows], dataset.capture[late])]
    half = MAX_PAYLOAD_PACKETS // 2
    parts = {
        HALVES[0]: (whole, dataset.series[whole].first(half)),
        HALVES[1]: (whole, dataset.series[whole].without_first(half)),
        "first windows of captures with later ones": (early, dataset.series[early]),
        "later windows": (late, dataset.series[late]),
    }
    return {
        name: evaluate.scores(dataset, of, answer(seen, dataset.timed[of]), temperatures)
        for name, (of, seen) in parts.items()
        if len(of)
    }


def confusion(dataset: Dataset, rows: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(services, services): windows of a service (row) by the answer (column), no answer withheld."""
    count = len(dataset.services)
    known = dataset.service[rows] != MISSING
    pairs = dataset.service[rows][known] * count + logits[known].argmax(axis=1)
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def reliability(
    dataset: Dataset, rows: np.ndarray, logits: dict[str, np.ndarray], temperatures: dict[str, float]
) -> dict[str, list[tuple[float, float, int]]]:
    """Task -> [(mean confidence, share that is right, windows)] for each tenth of confidence that occurs. For malicious
    the confidence is the score, and right is malicious."""
    result = {}
    for task, values in dataset.targets().items():
        known = values[rows] != MISSING
        labels, output = values[rows][known], logits[task][known] / temperatures[task]
        if task == "malicious":
            confidence, right = evaluate.sigmoid(output), labels == 1
        else:
            probability = evaluate.softmax(output)
            confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
        part = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
        result[task] = [
            (float(confidence[part == each].mean()), float(right[part == each].mean()), int((part == each).sum()))
            for each in range(_BINS)
            if (part == each).any()
        ]
    return result
