"""k nearest neighbours on the padded series."""

from __future__ import annotations

import numpy as np

from mmtt_agent.series import SeriesBatch

from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..data.weights import weights


def nearest_neighbours(dataset: Dataset, train: np.ndarray, rows: np.ndarray, k: int = 5) -> dict[str, np.ndarray]:
    """Logits by the votes of the k nearest training windows, by logarithmic sizes and gaps."""
    points, queries = _points(dataset.series[train]), _points(dataset.series[rows])
    trained = {task: weights(dataset, train, task) for task in dataset.targets()}
    targets = dataset.targets()
    votes = {}
    for task, values in targets.items():
        known = values[train] != MISSING
        classes = dataset.classes(task)
        counts = np.full((len(rows), classes), 0.1)
        if known.any():
            reference, labels, weight = points[known], values[train][known], trained[task][known]
            square = (reference**2).sum(axis=1)
            for start in range(0, len(rows), 512):
                part = queries[start : start + 512]
                distance = square - 2 * part @ reference.T
                nearest = np.argpartition(distance, min(k, len(labels) - 1), axis=1)[:, :k]
                for place in range(nearest.shape[1]):
                    voter = nearest[:, place]
                    np.add.at(counts, (np.arange(start, start + len(part)), labels[voter]), weight[voter])
        logits = np.log(counts)
        votes[task] = logits[:, 1] - logits[:, 0] if task == "malicious" else logits
    return votes


def _points(series: SeriesBatch) -> np.ndarray:
    sizes = np.sign(series.sizes) * np.log1p(np.abs(series.sizes))
    gaps = np.log1p(np.diff(series.times, axis=1, prepend=0).clip(0))
    return np.concatenate([sizes, gaps / 2], axis=1).astype(np.float32)
