"""What is unknown, in groups of what looks alike to the network, so that a person can name many flows at once.

A group is worth the more, the more there is to learn from its name: `flows x (1 - score) x likeness`, where the score
is what the network gave the best application that it knew, and the likeness that of the flows with the most typical
one (cosine), each on average over the group. That is the information density of Settles and Craven (An Analysis of
Active Learning Strategies for Sequence Labeling Tasks, EMNLP 2008: uncertainty times the likeness with what is
unlabelled, with beta 1), summed over a cluster that is labelled at once, as Nguyen and Smeulders have it (Active
Learning Using Pre-clustering, ICML 2004).

Groups are found by HDBSCAN (Campello, Moulavi and Sander, PAKDD 2013), which needs no number of them and leaves out
what is like nothing else, among a sample of the flows; the others go where the flow of the sample goes that is nearest.
By the server's names of the sites of ``shared/data``, 0.82 to 1.00 of the flows of a group are one application's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..bundle import UNKNOWN
from .errors import LearnError, scikit_learn

if TYPE_CHECKING:
    from ..record.rows import Windows

#: An application that the network gives no more than this is a guess, and as good as unknown.
UNSURE = 0.5
#: Fewest flows that are a group.
LEAST = 5
#: Flows that groups are sought among; of more a sample is drawn.
_SAMPLE = 10_000
#: A group has at least so great a share of the sample.
_SHARE = 1 / 500
#: Directions of the embedding that are kept: they hold over nine tenths of its variance.
_DIRECTIONS = 32
#: Flows that stand for all of those that people have said something of.
_ANSWERED = 10_000
#: Of an answered group's flows so many have their nearest within the distance up to which another is like them: on the
#: sites of ``shared/data``, thrown together, that is like 0.96 of the group's other flows and 0.01 of other groups'.
_REACH = 0.95
#: What rounding to half precision may move a flow by.
_ROUNDING = 0.01
#: Rows that are compared with all of a sample at a time.
_AT_A_TIME = 256


@dataclass(frozen=True)
class Cluster:
    """Flows that look alike.

    Attributes:
        rows: int64 (n,), the first window of each flow, in order of time.
        typical: the row of the one that is nearest to all others.
        worth: what its name would teach; only good for comparing groups of one call.
    """

    rows: np.ndarray
    typical: int
    worth: float


def unknown(windows: Windows) -> np.ndarray:
    """int64 (n,): of each flow whose application no window has told, the first window, in order of time."""
    guess = (windows.application == UNKNOWN) | (windows.application_score < UNSURE)
    told = set(windows.uid[~guess].tolist())
    return np.array([row for row in _first(windows) if windows.uid[row] not in told], np.int64)


def of_latest_network(windows: Windows) -> np.ndarray:
    """bool (n,): which windows have an embedding that can be compared with that of the latest, whatever the site had
    learnt meanwhile.

    Raises:
        LearnError: none has one.
    """
    if not windows.embedded.any():
        raise LearnError(
            "none of the recorded windows has an embedding; record with the bundle of mmtt 0.6.0 or later, whose "
            "network gives one"
        )
    # What is behind the + of a model is the site's, which does not change the network.
    networks = {model: str(model).partition("+")[0] for model in set(windows.model.tolist())}
    latest = networks[windows.model[np.flatnonzero(windows.embedded)[-1]]]
    same = np.array([networks[model] == latest for model in windows.model.tolist()], bool)
    return np.asarray(same & windows.embedded)


def grouped(windows: Windows, rows: np.ndarray, answered: Iterable[Sequence[int]]) -> tuple[list[Cluster], int]:
    """Groups among the flows of ``rows``, those that would teach most first, and how many flows are like one that
    people have said something of already: they are in no group.

    Args:
        rows: first windows of flows, in order of time; all with an embedding of one network.
        answered: of each group that was answered its flows, in the same way.

    Raises:
        LearnError: scikit-learn is not installed.
    """
    sample = rows[spread(len(rows), _SAMPLE)]
    flat = _Flat(windows.embedding, sample)
    before = _like(flat, rows, [np.array(group, np.int64) for group in answered])
    rows = rows[~before]
    if len(rows) < LEAST:
        return [], int(before.sum())
    sample = rows[spread(len(rows), _SAMPLE)]
    at = flat.of(sample)
    labels = _labels(at)
    label = labels if len(sample) == len(rows) else labels[_nearest(flat, rows, at)[0]]
    found = [_cluster(windows, rows[label == each], flat) for each in range(labels.max() + 1)]
    found.sort(key=lambda cluster: (-cluster.worth, cluster.rows[0]))
    return found, int(before.sum())


class _Flat:
    """Embeddings in few directions: those in which a sample differs most. What is no number counts as 0."""

    def __init__(self, embedding: np.ndarray, sample: np.ndarray) -> None:
        self._embedding = embedding
        numbers = self._numbers(sample)
        self._middle = numbers.mean(0) if len(sample) else np.zeros(embedding.shape[1], np.float32)
        unit = _unit(numbers - self._middle)
        _, directions = np.linalg.eigh(unit.T @ unit)
        self._directions = np.ascontiguousarray(directions[:, ::-1][:, :_DIRECTIONS])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, directions), of length 1 at most."""
        made = np.empty((len(rows), self._directions.shape[1]), np.float32)
        for begin in range(0, len(rows), 16 * _AT_A_TIME):
            some = slice(begin, begin + 16 * _AT_A_TIME)
            made[some] = _unit(self._numbers(rows[some]) - self._middle) @ self._directions
        return made

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.nan_to_num(self._embedding[rows].astype(np.float32), posinf=0, neginf=0))


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))


def _labels(at: np.ndarray) -> np.ndarray:
    """The group of each, from 0; -1 for none."""
    scikit_learn()
    from sklearn.cluster import HDBSCAN

    least = max(LEAST, round(len(at) * _SHARE))
    labels = HDBSCAN(min_cluster_size=least, min_samples=LEAST, copy=True).fit_predict(at)
    if labels.max() < 0:
        # All may be one thing; where there are several the whole is not one of them.
        labels = HDBSCAN(min_cluster_size=least, min_samples=LEAST, copy=True, allow_single_cluster=True).fit_predict(
            at
        )
    return np.asarray(labels)


def _cluster(windows: Windows, rows: np.ndarray, flat: _Flat) -> Cluster:
    at = flat.of(rows)
    # The one nearest to the middle has the least squared distance to all.
    typical = int(np.argmin(np.square(at - at.mean(0)).sum(1)))
    # Of directions the cosine, and 1 where all are in the very middle and have none.
    likeness = float(1 - np.square(at - at[typical]).sum(1).mean() / 2)
    unsure = float(1 - np.clip(windows.application_score[rows], 0, 1).mean())
    return Cluster(rows, int(rows[typical]), len(rows) * unsure * max(likeness, 0.0))


def _like(flat: _Flat, rows: np.ndarray, answered: list[np.ndarray]) -> np.ndarray:
    """bool (n,): which are as near to a flow of an answered group as those of that group are to one another."""
    most = max(_ANSWERED // max(len(answered), 1), 2)
    groups = [group[spread(len(group), most)] for group in answered if len(group)]
    if not groups or not len(rows):
        return np.zeros(len(rows), bool)
    at = [flat.of(group) for group in groups]
    reach = np.repeat([_apart(each) + _ROUNDING for each in at], [len(each) for each in at])
    nearest, distance = _nearest(flat, rows, np.concatenate(at))
    return np.asarray(distance <= reach[nearest])


def _apart(at: np.ndarray) -> float:
    """How far from a flow its nearest one is, but for those few that are farthest."""
    if len(at) < 2:
        return 0.0
    square = np.square(at).sum(1)
    distances = square[:, None] + square - 2 * at @ at.T
    np.fill_diagonal(distances, np.inf)
    return float(np.sqrt(np.quantile(distances.min(1).clip(0), _REACH)))


def _nearest(flat: _Flat, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of ``at`` is nearest to each of ``rows``, and how far it is."""
    found, distance = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    square = np.square(at).sum(1)
    for begin in range(0, len(rows), _AT_A_TIME):
        some = slice(begin, begin + _AT_A_TIME)
        here = flat.of(rows[some])
        apart = square - 2 * here @ at.T
        found[some] = apart.argmin(1)
        least = apart[np.arange(len(here)), found[some]] + np.square(here).sum(1)
        distance[some] = np.sqrt(least.clip(0))
    return found, distance


def spread(n: int, most: int) -> np.ndarray:
    """At most so many of n rows: drawn, but the same ones each time, as what comes by the clock might be missed by
    every so manieth."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False))


def _first(windows: Windows) -> list[int]:
    """The first window of each flow, in order of time."""
    seen: dict[str, int] = {}
    for row, uid in enumerate(windows.uid.tolist()):
        at = seen.setdefault(uid, row)
        if windows.window[row] < windows.window[at]:
            seen[uid] = row
    return sorted(seen.values())


def first_by_uid(windows: Windows) -> dict[str, int]:
    """The first window of each flow, by its uid."""
    return {windows.uid[row]: row for row in _first(windows)}
