"""Weights keep their signs, no site decides, and the same comes out each time."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_agent.incidents.features import FEATURES
from mmtt_model.incidents.evidence import Evidence
from mmtt_model.incidents.fit import INPUTS, Input, fit, site_weights


def _evidence(columns, label, site=None):
    many = len(label)
    features = np.zeros((many, len(FEATURES)))
    for name, values in columns.items():
        features[:, FEATURES.index(name)] = values
    nothing = np.zeros(many, np.int64)
    return Evidence(
        "pair", nothing, nothing if site is None else site, [""] * many, label, nothing, np.zeros(many, bool),
        np.ones(many, bool), nothing, [], [], np.arange(many + 1), features,
    )  # fmt: skip


@pytest.fixture
def told():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 400)
    return {"mean": label + rng.normal(0, 1, 400), "number": -label + rng.normal(0, 1, 400)}, label


@pytest.mark.parametrize(("sign", "low", "high"), [(1, 0, 0), (0, -9, -0.1), (-1, -9, -0.1)])
def test_a_weight_keeps_the_sign_that_reason_gave(told, sign, low, high):
    evidence = _evidence(*told)
    model = fit(evidence, np.arange(400), (Input("mean", 0.5), Input("number", 0.0, sign)))
    assert model.weights["mean"] > 0.3 and low <= model.weights["number"] <= high


def test_more_prior_holds_to_the_guess(told):
    evidence = _evidence(*told)
    spread = told[0]["mean"].std()
    for prior, near in ((100.0, 0.02), (1e-6, None)):
        weight = fit(evidence, np.arange(400), (Input("mean", 0.25),), prior).weights["mean"] * spread
        assert abs(weight - 0.25) < near if near else abs(weight - 0.25) > 0.2


def test_what_is_the_same_everywhere_harms_nothing(told):
    columns, label = told
    model = fit(_evidence({**columns, "udp": np.ones(400)}, label), np.arange(400), INPUTS["pair"])
    assert all(np.isfinite(value) for value in (model.bias, *model.weights.values()))
    assert model == fit(_evidence({**columns, "udp": np.ones(400)}, label), np.arange(400), INPUTS["pair"])


def test_a_site_counts_by_the_root_of_what_it_has_and_labels_count_the_same():
    label = np.array([1] * 4 + [0] * 101)
    site = np.array([0, 1, 1, 1] + [2] * 100 + [3])
    weight = site_weights(site, label)
    assert weight[label == 1].sum() == pytest.approx(0.5) and weight.sum() == pytest.approx(1)
    assert weight[site == 2].sum() / weight[site == 3].sum() == pytest.approx(10)


def test_inputs_are_features_of_the_agent():
    assert all(each.name in FEATURES and each.guess * each.sign >= 0 for of in INPUTS.values() for each in of)
