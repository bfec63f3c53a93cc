"""What evidence over connections is compared with: scores of pairs that need no second model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mmtt_agent.incidents.features import FEATURES

from .evidence import Evidence


def _feature(evidence: Evidence, name: str) -> np.ndarray:
    found: np.ndarray = evidence.last[:, FEATURES.index(name)]
    return found


def _highest(evidence: Evidence) -> np.ndarray:
    # Of a pair without any window nobody says that it is average.
    return np.where(_feature(evidence, "none") > 0, -np.inf, _feature(evidence, "top"))


def _mean(evidence: Evidence) -> np.ndarray:
    return np.where(_feature(evidence, "none") > 0, -np.inf, _feature(evidence, "mean"))


def _mean_and_number(evidence: Evidence) -> np.ndarray:
    return _mean(evidence) + _feature(evidence, "number") / 2


def _count(evidence: Evidence) -> np.ndarray:
    return evidence.connections.astype(float)


def _regularity(evidence: Evidence) -> np.ndarray:
    return np.array([beacon(*each) for each in zip(evidence.starts, evidence.sizes, strict=True)])


def beacon(starts: np.ndarray, sizes: np.ndarray) -> float:
    """How much connections are a beacon, 0 to 1, as RITA 5 scores it (activecm/rita, analysis/beacons.go): the mean of
    how symmetric and how narrow the gaps are, and the sizes. RITA's two other quarters, the histogram of a day and its
    length in hours, need six hours of a pair; captures seldom have them.

    Args:
        starts: microseconds, in order; ``sizes``: bytes of each.
    """
    gaps = np.floor(np.diff(starts // 1_000_000))
    gaps = gaps[gaps > 0]
    if len(gaps) < 3:
        return 0.0
    return (_statistical(gaps, 1.0) + _statistical(sizes, 0.0)) / 2


def _statistical(values: np.ndarray, without: float) -> float:
    low, middle, high = np.percentile(values, (25, 50, 75))
    skew = 0.0
    if high - low >= 10 and middle not in (low, high):
        skew = float((low + high - 2 * middle) / (high - low))
    narrow = without
    if middle >= 1:
        narrow = max(0.0, float((middle - np.median(np.abs(values - middle))) / middle))
    return (1 - abs(skew) + narrow) / 2


#: By name, as the card has them.
PEERS: Mapping[str, Callable[[Evidence], np.ndarray]] = {
    "highest flow score": _highest,
    "mean of the flow scores": _mean,
    "mean and half a logarithm of the number": _mean_and_number,
    "number of connections": _count,
    "regularity, as RITA's": _regularity,
}
