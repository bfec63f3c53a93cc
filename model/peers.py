"""Other ways to answer the same questions, for comparison: trained on the same windows, scored on the same captures."""

from __future__ import annotations

import numpy as np

from mmtt_agent.series import SeriesBatch

from .dataset import MISSING, Dataset


def nearest_neighbours(
    dataset: Dataset, train: np.ndarray, rows: np.ndarray, k: int = 5
) -> dict[str, np.ndarray]:
    """Logits by the votes of the k nearest training windows, by logarithmic sizes and gaps."""
    points, queries = _points(dataset.series[train]), _points(dataset.series[rows])
    targets = dataset.targets()
    votes = {}
    for task, values in targets.items():
        known = values[train] != MISSING
        classes = dataset.classes(task)
        counts = np.full((len(rows), classes), 0.1)
        if known.any():
            reference, labels = points[known], values[train][known]
            square = (reference**2).sum(axis=1)
            for start in range(0, len(rows), 512):
                part = queries[start : start + 512]
                distance = square - 2 * part @ reference.T
                nearest = np.argpartition(distance, min(k, len(labels) - 1), axis=1)[:, :k]
                for place in range(nearest.shape[1]):
                    np.add.at(counts, (np.arange(start, start + len(part)), labels[nearest[:, place]]), 1)
        logits = np.log(counts)
        votes[task] = logits[:, 1] - logits[:, 0] if task == "malicious" else logits
    return votes


def boosted_trees(
    dataset: Dataset, train: np.ndarray, validation: np.ndarray, rows: np.ndarray, tasks: tuple[str, ...]
) -> dict[str, np.ndarray] | None:
    """Logits of LightGBM on sizes and gaps, a model per task, as many trees as are best on ``validation``; None if
    LightGBM is not installed."""
    try:
        import lightgbm
    except ImportError:
        return None
    result = {}
    for task in tasks:
        values = dataset.targets()[task]
        known = {name: r[values[r] != MISSING] for name, r in (("train", train), ("validation", validation))}
        if not all(map(len, known.values())):
            # Nothing to learn from: all answers are as likely.
            result[task] = np.zeros(len(rows) if task == "malicious" else (len(rows), dataset.classes(task)))
            continue
        frequency = np.bincount(values[known["train"]], minlength=dataset.classes(task)).clip(1)
        parts = {
            name: lightgbm.Dataset(
                raw_points(dataset.series[r]), values[r], weight=1 / np.sqrt(frequency[values[r]])
            )
            for name, r in known.items()
        }
        objective = (
            {"objective": "binary"}
            if task == "malicious"
            else {"objective": "multiclass", "num_class": dataset.classes(task)}
        )
        booster = lightgbm.train(
            objective | {"verbose": -1, "num_threads": 1, "learning_rate": 0.08, "num_leaves": 31, "seed": 1},
            parts["train"],
            300,
            valid_sets=[parts["validation"]],
            callbacks=[lightgbm.early_stopping(20, verbose=False)],
        )
        result[task] = booster.predict(raw_points(dataset.series[rows]), raw_score=True)
    return result


def _points(series: SeriesBatch) -> np.ndarray:
    sizes = np.sign(series.sizes) * np.log1p(np.abs(series.sizes))
    gaps = np.log1p(np.diff(series.times, axis=1, prepend=0).clip(0))
    return np.concatenate([sizes, gaps / 2], axis=1).astype(np.float32)


def raw_points(series: SeriesBatch) -> np.ndarray:
    """(n, 64): signed sizes, then gaps in µs; NaN where the window is shorter."""
    filled = np.arange(series.sizes.shape[1]) < series.lengths[:, None]
    gaps = np.diff(series.times, axis=1, prepend=0).clip(0)
    return np.where(np.concatenate([filled, filled], 1), np.concatenate([series.sizes, gaps], 1), np.nan)
