import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model.data import dataset
from mmtt_model.data.labels import TRANSPORTS
from mmtt_model.evaluation import evaluate
from mmtt_model.evaluation.calibrate import Calibration, decisions


def test_scores_are_what_their_definitions_say():
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert evaluate.f1_by_class(labels, predicted) == {0: 0.5, 1: 0.8, 2: 0.0}
    assert evaluate.macro_f1(labels, predicted) == pytest.approx(1.3 / 3)
    truth, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.4, 0.1])
    assert evaluate.auroc(truth, scores) == pytest.approx(3.5 / 4)
    assert evaluate.recall_at(truth, scores, 0.01) == 0.5
    assert np.isnan(evaluate.auroc(np.array([1]), np.array([0.5])))
    assert evaluate.calibration_error(np.array([1, 0, 1, 0]), np.full(4, 0.9)) == pytest.approx(0.4)


def test_several_seeds_have_an_interval_and_one_has_none():
    mean, half = evaluate.mean_and_interval([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5) and half == pytest.approx(4.303 * 0.1 / 3**0.5)
    assert np.isnan(evaluate.mean_and_interval([0.4])[1])


def test_the_surest_answers_come_first():
    made = synthetic()
    rows = np.arange(4)
    answers = np.array([*made.service[:3], 1 - made.service[3]])
    logits = np.array([[1], [3], [2], [0.5]]) * np.eye(2)[answers]
    made.application[rows] = dataset.MISSING
    shares = evaluate.coverage(made, rows, {"service": logits, "application": logits})
    assert shares["service"] == {25: 1, 50: 1, 75: 1, 100: 0.75}
    assert np.isnan(shares["application"][100])


def test_a_threshold_never_flags_more_than_allowed():
    rng = np.random.default_rng(2)
    for _ in range(20):
        labels, scores = rng.integers(0, 2, 300), rng.random(300).round(2)
        threshold = evaluate.threshold_at(labels, scores, 0.05)
        assert (scores[labels == 0] >= threshold).mean() <= 0.05


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert evaluate.fit_temperature(labels, logits * 3) == pytest.approx(3, rel=0.15)


def test_abstention_reaches_the_accuracy_asked_for():
    confidence = np.linspace(0, 1, 1000)
    right = np.random.default_rng(4).random(1000) < confidence
    threshold = evaluate.abstention_threshold(right, confidence, 0.8)
    assert right[confidence >= threshold].mean() >= 0.8 and 0.3 < (confidence >= threshold).mean() < 0.7


def _right(made, rows, wrong=()):
    """Logits for ``rows`` that are all right, but for those of these sites."""
    turned = np.isin(made.site[rows], wrong)
    service = np.eye(2)[np.where(turned, 1 - made.service[rows], made.service[rows])]
    return {"service": service, "application": service, "malicious": service[:, 1], "malicious_kind": service}


def test_scores_are_told_apart_by_what_can_be_read_of_the_flows():
    made, rows = synthetic(), np.arange(240)
    made.service[made.transport == 2] = 1 - made.service[made.transport == 2]  # QUIC's are all taken for the other
    answers = _right(synthetic(), rows)
    found = evaluate.by_part(made, rows, answers, dict.fromkeys(answers, 1.0))
    assert list(found) == ["all", "encrypted", *TRANSPORTS]
    assert [found[part]["service"]["accuracy"] for part in found] == pytest.approx([3 / 4, 2 / 3, 1, 1, 0, 1])
    assert found["all"]["service"]["windows"] == 240 and found["TLS"]["service"]["windows"] == 60


def test_a_class_of_few_sites_is_not_in_the_mean_of_those_of_many():
    made, rows = synthetic(), np.arange(240)
    made.service[:] = 0
    made.service[: 8 * (evaluate.MANY - 1)] = 1
    answers = _right(made, rows, wrong=range(evaluate.MANY - 1))
    found = evaluate.scores(made, rows, answers, dict.fromkeys(answers, 1.0))["service"]
    assert found["by_class"]["streaming"] == {"f1": 0, "windows": 16, "sites": evaluate.MANY - 1}
    assert found["macro_f1_many"] == found["by_class"]["chat"]["f1"] == 2 * found["macro_f1"] and found["sites"] == 30


def test_an_interval_is_as_wide_as_sites_differ():
    made, rows = synthetic(), np.arange(240)
    same = evaluate.site_intervals(made, rows, _right(made, rows), 50)
    assert same["service"] == {"macro_f1": (1, 1), "accuracy": (1, 1)} and same["malicious"]["auroc"] == (1, 1)
    low, high = evaluate.site_intervals(made, rows, _right(made, rows, wrong=range(10)), 200)["service"]["accuracy"]
    # A third of 30 sites is wrong throughout: two standard errors are 0.17.
    assert low == pytest.approx(2 / 3 - 0.17, abs=0.06) and high == pytest.approx(2 / 3 + 0.17, abs=0.06)


def test_of_no_windows_there_is_no_interval_and_of_none_with_a_label_none_either():
    made = synthetic()
    assert evaluate.site_intervals(made, np.zeros(0, int), _right(made, np.zeros(0, int))) == {}
    made.application[:] = dataset.MISSING
    rows = np.arange(240)
    assert np.isnan(evaluate.site_intervals(made, rows, _right(made, rows), 5)["application"]["accuracy"]).all()


def test_data_of_which_nothing_is_known_to_be_encrypted_is_scored():
    made, rows = synthetic(), np.arange(240)
    made.transport[:] = 0
    answers = _right(made, rows)
    plain = dict.fromkeys(answers, 1.0)
    found = evaluate.by_part(made, rows, answers, plain)
    assert found["encrypted"]["service"] == {"windows": 0} and np.isnan(found["encrypted"]["malicious"]["auroc"])
    none = {task: values[:0] for task, values in answers.items()}
    decided = decisions(made, rows[:0], none, Calibration(plain, plain, {"1%": 0.5}))
    assert np.isnan(decided["malicious_kind"]["answered"]) and np.isnan(decided["malicious"]["recall"])
