"""From a run's networks to its second model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data import pairs
from ..data.dataset import Dataset
from ..network.architecture import Network
from ..studies.cross_site import LeftOut
from .answers import Answers, answers
from .study import Study, study

#: Processes that read captures side by side, at most: each holds all names of flows.
_PROCESSES = 2


def make(
    data: Path,
    out: Path,
    dataset: Dataset,
    left_out: LeftOut,
    shipped: Network,
    temperatures: dict[str, float],
    known: tuple[np.ndarray, dict[str, np.ndarray]],
    say: Callable[[str], None],
) -> Study:
    """Fit and measure the second model on the captures in ``data``; connections and answers are kept in ``out``.

    Args:
        dataset: of the same captures; its sites are split as there.
        shipped: the network that goes into the bundle.
        known: what `LeftOut.answers` gives.

    Returns:
        One without a section where ``data`` has no hosts, or too few of either label.
    """
    read = connections(data, out, dataset, left_out, shipped, say)
    if read is None:
        return Study({}, {})
    found, said = read
    rows, logits = known
    harmless = logits["malicious"][dataset.malicious[rows] == 0] / temperatures["malicious"]
    return study(found, said, temperatures, dataset.kinds, harmless, say)


def connections(
    data: Path, out: Path, dataset: Dataset, left_out: LeftOut, shipped: Network, say: Callable[[str], None]
) -> tuple[pairs.Pairs, Answers] | None:
    """All connections of the captures in ``data``, and what networks that have not seen them say of their windows; both
    are kept in ``out``. None where ``data`` has no hosts."""
    found = pairs.load_or_build(data, out / "pairs.npz", dataset, min(_PROCESSES, os.cpu_count() or 1), say)
    return None if found is None else (found, answers(found, dataset, left_out, shipped, out / "answers.npz", say))
