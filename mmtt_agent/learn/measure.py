"""How well two bundles name windows whose names are known, task by task and label by label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bundle import UNKNOWN
from ..classifier import Verdicts
from ..site import TASKS
from .fit import MIN_WINDOWS


@dataclass(frozen=True)
class Score:
    """Of one bundle, on one task.

    Attributes:
        windows: whose name is known; ``answered``: the share that got a label, ``right``: of all, those that got the
            right one.
        f1: by label, of those with MIN_WINDOWS windows or more.
        of: how many windows each of these has.
    """

    windows: int
    answered: float
    right: float
    f1: dict[str, float]
    of: dict[str, int]

    @property
    def macro_f1(self) -> float:
        """The mean over labels; 0 where there are none."""
        return float(np.mean([*self.f1.values()])) if self.f1 else 0.0


def f1(truth: np.ndarray, said: np.ndarray, label: str) -> float:
    """Of one label."""
    both = ((said == label) & (truth == label)).sum()
    return float(2 * both / max((said == label).sum() + (truth == label).sum(), 1))


def score(names: np.ndarray, said: list[str]) -> Score:
    """Compare what windows are called (n,), "" where that is not known, with the labels that were given."""
    rows = np.flatnonzero(names != "")
    truth, answers = names[rows], np.array(said, object)[rows]
    labels, counts = np.unique(truth.astype(str), return_counts=True)
    of = {str(label): int(n) for label, n in zip(labels, counts, strict=True) if n >= MIN_WINDOWS}
    by_label = {label: f1(truth, answers, label) for label in of}
    n = max(len(rows), 1)
    return Score(len(rows), float((answers != UNKNOWN).sum() / n), float((answers == truth).sum() / n), by_label, of)


def scores(names: dict[str, np.ndarray], verdicts: Verdicts) -> dict[str, Score]:
    """By task."""
    return {task: score(names[task], getattr(verdicts, task)) for task in TASKS}


#: A macro-F1 that is lower by no more than this is as good.
SLACK = 0.01


def worse(before: dict[str, Score], after: dict[str, Score]) -> list[str]:
    """The tasks that are named worse than before."""
    return [task for task in TASKS if after[task].macro_f1 < before[task].macro_f1 - SLACK]


def better(before: dict[str, Score], after: dict[str, Score]) -> bool:
    """Whether any task is named better than before."""
    return any(after[task].macro_f1 > before[task].macro_f1 or after[task].right > before[task].right for task in TASKS)
