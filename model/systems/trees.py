"""LightGBM (Ke et al., NeurIPS 2017) on the sizes and gaps as they are."""

from __future__ import annotations

import numpy as np

from mmtt_agent.series import SeriesBatch

from ..data.dataset import Dataset
from ..data.labels import MISSING


def boosted_trees(
    dataset: Dataset, train: np.ndarray, validation: np.ndarray, rows: np.ndarray, tasks: tuple[str, ...]
) -> dict[str, np.ndarray] | None:
    """Logits of LightGBM on sizes and gaps, a model per task, as many trees as are best on ``validation``; None if
    LightGBM is not installed."""
    try:
        import lightgbm
    except ImportError:
        return None
    result: dict[str, np.ndarray] = {}
    for task in tasks:
        values = dataset.targets()[task]
        known = {name: r[values[r] != MISSING] for name, r in (("train", train), ("validation", validation))}
        if not all(map(len, known.values())):
            # Nothing to learn from: all answers are as likely.
            result[task] = np.zeros(len(rows) if task == "malicious" else (len(rows), dataset.classes(task)))
            continue
        frequency = np.bincount(values[known["train"]], minlength=dataset.classes(task)).clip(1)
        parts = {
            name: lightgbm.Dataset(raw_points(dataset.series[r]), values[r], weight=1 / np.sqrt(frequency[values[r]]))
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
        result[task] = np.asarray(booster.predict(raw_points(dataset.series[rows]), raw_score=True))
    return result


def raw_points(series: SeriesBatch) -> np.ndarray:
    """(n, 64): signed sizes, then gaps in µs; NaN where the window is shorter."""
    filled = np.arange(series.sizes.shape[1]) < series.lengths[:, None]
    gaps = np.diff(series.times, axis=1, prepend=0).clip(0)
    return np.where(np.concatenate([filled, filled], 1), np.concatenate([series.sizes, gaps], 1), np.nan)
