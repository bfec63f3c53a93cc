"""What captures come to in the agent's own tracker, and what pairs are called."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from made_pairs import KINDS, TEMPERATURES, made

from mmtt_agent.incidents.features import FEATURES
from mmtt_model.data.labels import MISSING
from mmtt_model.incidents.evidence import MOST_ALIKE, collect


def _collect(pairs, answers):
    return collect(pairs, answers, TEMPERATURES, KINDS, lambda line: None)


@pytest.fixture(scope="module")
def found():
    return _collect(*made())


def test_a_pair_has_the_label_and_evidence_of_its_windows(found):
    pair = found["pair"]
    bad = pair.label == 1
    assert bad.sum() == 12 * 3 and set(np.array(pair.port)[bad]) == {"22/tcp"}
    without = pair.last[:, FEATURES.index("none")] > 0
    assert without.any() and (pair.label[without] == MISSING).all() and (pair.label[~bad & ~without] == 0).all()
    assert (pair.kind[bad] == 0).all() and (pair.kind[~bad] == MISSING).all()
    mean = pair.last[:, FEATURES.index("mean")]
    assert mean[bad].min() > mean[~bad & ~without].mean() + 1
    assert (pair.last[:, FEATURES.index("tries")] > 0).any(), "connections too short are evidence, too"


def test_judgements_come_one_by_one_and_count_to_the_connections(found):
    pair = found["pair"]
    scores = np.log1p(np.expm1(pair.features[:, FEATURES.index("number")]))
    assert (pair.highest(scores) <= np.log1p(pair.connections) + 1e-6).all()
    until = pair.until(scores, np.log1p(4.5))
    reached = np.isfinite(until)
    assert (until[reached] >= 4.4).all() and (until[reached] < 7).all() and not reached.all()


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ((1, 1, 0, 0), 1),
        ((1, 0, 0, 0), MISSING),
        ((0, 0, -1, -1), 0),
        ((-1, -1, -1, -1), MISSING),
        ((1, -1, -1, -1), 1),
    ],
)
def test_mixed_pairs_are_in_doubt_and_unlabelled_windows_say_nothing(labels, label):
    pairs, answers = made(1)
    keep = np.flatnonzero((pairs.capture == 0) & (pairs.resp == pairs.resp[0]))[:1].repeat(4)
    one = dataclasses.replace(
        pairs,
        **{name: getattr(pairs, name)[keep] for name in ("capture", "orig", "resp", "resp_p", "protocol", "failed")},
        start=np.arange(4) * 10_000_000,
        short=np.zeros(4, bool),
        connection=np.arange(4),
        window=np.zeros(4, np.uint8),
        ts=np.arange(4) * 10_000_000,
        series=pairs.series[np.zeros(4, int)],
        malicious=np.array(labels),
        kind=np.full(4, MISSING),
        transport=np.zeros(4, np.uint8),
    )
    answers.logits = {task: values[:1].repeat(4, 0) for task, values in answers.logits.items()}
    pair = _collect(one, answers)["pair"]
    assert pair.label.tolist() == [label] and pair.scored.tolist() == [label != MISSING]


def test_no_capture_has_more_pairs_that_count_than_told():
    pairs, answers = made(2)
    many = len(pairs.capture)
    scan = dataclasses.replace(pairs, resp=np.arange(many) % 19, resp_p=np.full(many, 443), orig=np.arange(many) % 20)
    pair = _collect(scan, answers)["pair"]
    for capture in np.unique(pair.capture).tolist():
        for label in (0, 1):
            alike = (pair.capture == capture) & (pair.label == label)
            assert pair.scored[alike].sum() == min(MOST_ALIKE, alike.sum())


def test_the_same_evidence_each_time(found):
    again = _collect(*made())
    for unit, evidence in found.items():
        assert np.array_equal(evidence.features, again[unit].features) and np.array_equal(
            evidence.scored, again[unit].scored
        )


def test_captures_of_whose_site_nothing_is_known_are_left_out():
    pairs, answers = made()
    answers.part[3] = MISSING
    assert 3 not in _collect(pairs, answers)["pair"].capture
