"""How much a window counts: not by how much its repository or its class has."""

import itertools

import numpy as np
import pytest
from synthetic import synthetic

from mmtt_model.data.labels import MISSING
from mmtt_model.data.weights import weights


def _made(*groups):
    """A data set of groups of windows: (repository, label, how many), each a capture of its own."""
    counts = [count for *_, count in groups]
    made = synthetic(sum(counts), 1)
    made.capture = np.repeat(np.arange(len(groups)), counts)
    made.sources = [repository for repository, *_ in groups]
    for task in ("service", "application", "malicious", "malicious_kind"):
        setattr(made, task, np.repeat([label for _, label, _ in groups], counts))
    return made, np.arange(len(made)), np.cumsum([0, *counts])


def test_a_repository_counts_by_the_root_of_what_it_has_of_a_class():
    made, rows, edges = _made(("large", 0, 400), ("small", 0, 4))
    of = weights(made, rows, "service")
    large, small = (of[start:end].sum() for start, end in itertools.pairwise(edges))
    assert large / small == pytest.approx(10), "of what is a hundred times as much"
    assert of.mean() == pytest.approx(1)


def test_captures_of_one_repository_count_together():
    made, rows, _ = _made(("one", 0, 100), ("one", 0, 300), ("two", 0, 400))
    of = weights(made, rows, "service")
    assert of == pytest.approx(np.ones(800))


def test_malicious_windows_count_as_much_as_the_others_and_rare_classes_by_their_root():
    made, rows, edges = _made(("a", 0, 900), ("b", 1, 9))
    balanced, root = weights(made, rows, "malicious"), weights(made, rows, "service")
    assert balanced[: edges[1]].sum() == pytest.approx(balanced[edges[1] :].sum())
    # Of 900 in one repository the root is 30, of 9 it is 3; and of these the root again.
    assert root[: edges[1]].sum() / root[edges[1] :].sum() == pytest.approx(10**0.5)
    assert root[-1] > root[0]


def test_what_has_no_label_counts_nothing_and_only_the_rows_asked_for_count():
    made, rows, edges = _made(("a", MISSING, 10), ("b", 0, 10), ("c", 1, 10))
    of = weights(made, rows, "service")
    assert not of[: edges[1]].any() and of[edges[1] :].mean() == pytest.approx(1)
    assert weights(made, rows[5:15], "service").tolist() == [0] * 5 + [1] * 5
    assert not weights(made, rows[:10], "malicious").any()
