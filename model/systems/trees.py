"""LightGBM (Ke et al., NeurIPS 2017) on the sizes and gaps as they are, and on the statistics that ours reads, too."""

from __future__ import annotations

import numpy as np

from mmtt_agent import features
from mmtt_agent.series import SeriesBatch

from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..data.weights import weights

#: Trees of a class at most, and after how many without gain on the validation sites there are no more.
_ROUNDS, _PATIENCE = 150, 15
#: How many where there are none to choose by.
_UNCHOSEN = 60


def boosted_trees(
    dataset: Dataset, train: np.ndarray, validation: np.ndarray, rows: np.ndarray, tasks: tuple[str, ...]
) -> dict[str, np.ndarray] | None:
    """Logits of LightGBM, a model per task, weighted as ours, as many trees as are best on ``validation``, if it has
    labels; None if LightGBM is not installed."""
    try:
        import lightgbm
    except ImportError:
        return None
    result: dict[str, np.ndarray] = {}
    points = {name: _points(dataset, of) for name, of in (("train", train), ("validation", validation), ("rows", rows))}
    for task in tasks:
        values = dataset.targets()[task]
        known = {name: r[values[r] != MISSING] for name, r in (("train", train), ("validation", validation))}
        binary = task == "malicious"
        if not len(known["train"]):
            # Nothing to learn from: all answers are as likely.
            result[task] = np.zeros(len(rows) if binary else (len(rows), dataset.classes(task)))
            continue
        parts = {}
        for name, of in (("train", train), ("validation", validation)):
            there = values[of] != MISSING
            weight = weights(dataset, of, task)[there]
            parts[name] = lightgbm.Dataset(points[name][there], values[of][there], weight=weight)
        chosen = len(known["validation"]) > 0
        several = {"objective": "multiclass", "num_class": dataset.classes(task)}
        objective = {"objective": "binary"} if binary else several
        booster = lightgbm.train(
            objective | {"verbose": -1, "num_threads": 1, "learning_rate": 0.1, "num_leaves": 31, "seed": 1},
            parts["train"],
            _ROUNDS if chosen else _UNCHOSEN,
            valid_sets=[parts["validation"]] if chosen else None,
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)] if chosen else None,
        )
        result[task] = np.asarray(booster.predict(points["rows"], raw_score=True))
    return result


def raw_points(series: SeriesBatch, timed: np.ndarray | None = None) -> np.ndarray:
    """(n, 64): signed sizes, then gaps in µs; NaN where the window is shorter, or its times are not known."""
    filled = np.arange(series.sizes.shape[1]) < series.lengths[:, None]
    gaps = np.diff(series.times, axis=1, prepend=0).clip(0)
    gaps_known = filled if timed is None else filled & timed[:, None]
    return np.where(np.concatenate([filled, gaps_known], 1), np.concatenate([series.sizes, gaps], 1), np.nan)


def _points(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """(n, 64 + STATISTICS): the raw points, and the statistics by the number of their word."""
    series, timed = dataset.series[rows], dataset.timed[rows]
    return np.concatenate([raw_points(series, timed), features.model_input(series, timed)["statistics"]], 1)
