"""Verdicts: labels from the taxonomy, calibrated, consistent, and the same however windows come together."""

import dataclasses

import numpy as np
import pytest
from tiny_bundle import APPLICATIONS, KINDS, make_bundle, network, with_kinds

from mmtt_agent import bundle
from mmtt_agent.bundle import BundleError
from mmtt_agent.classifier import Classifier, energy
from mmtt_agent.series import SeriesBatch


def windows(n: int, seed: int = 1) -> SeriesBatch:
    random = np.random.default_rng(seed)
    sizes, times = [], []
    for _ in range(n):
        length = int(random.integers(4, 33))
        sizes.append((random.integers(1, 1460, length) * random.choice([-1, 1], length)).tolist())
        times.append([0, *np.sort(random.integers(0, 60_000_000, length - 1)).tolist()])
    return SeriesBatch.from_lists(sizes, times)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return bundle.load(make_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def classifier(loaded):
    return Classifier(loaded)


@pytest.fixture(scope="module")
def shipped():
    return Classifier(bundle.load())


@pytest.fixture(scope="module")
def told_apart(tmp_path_factory):
    """A bundle that tells kinds of malicious apart."""
    return bundle.load(make_bundle(tmp_path_factory.mktemp("kinds"), **with_kinds()))


def as_rows(verdicts):
    columns = (getattr(verdicts, name) for name in verdicts.__slots__)
    return list(zip(*(column if isinstance(column, list) else column.tolist() for column in columns), strict=True))


def test_every_window_gets_a_verdict_of_the_taxonomy(classifier):
    verdicts = classifier.classify(windows(500))
    assert len(verdicts) == 500
    assert {*verdicts.service} <= {"web", "chat", "voip", "unknown"}
    assert {*verdicts.application} <= {*APPLICATIONS, "unknown"}
    assert len({*verdicts.service}) > 2 and len({*verdicts.application}) > 2
    for scores in (verdicts.service_score, verdicts.application_score, verdicts.malicious_score):
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (scores == scores.round(4)).all()
    assert verdicts.malicious.tolist() == (verdicts.malicious_score >= 0.5).tolist()


def test_malicious_is_by_the_threshold_of_the_service(loaded):
    verdicts = Classifier(bundle.with_thresholds(loaded, {"others": 0.7, "web": 0.2, "unknown": 1.0})).classify(
        windows(500)
    )
    least = np.array([{"web": 0.2, "unknown": 1.0}.get(service, 0.7) for service in verdicts.service])
    assert verdicts.malicious.tolist() == (verdicts.malicious_score >= least).tolist()
    with pytest.raises(BundleError, match="knows no service 'wbe', which there is a threshold for"):
        Classifier(bundle.with_thresholds(loaded, {"wbe": 0.9}))
    assert len({(service, called) for service, called in zip(verdicts.service, verdicts.malicious, strict=True)}) > 4


def test_what_evidence_is_made_of_is_calibrated_and_not_rounded(told_apart):
    batch = windows(200)
    cooled = dataclasses.replace(told_apart, temperatures=told_apart.temperatures | {"malicious": 2.0})
    classifier = Classifier(cooled)
    *_, malicious, kinds = classifier.logits(batch)
    verdicts = classifier.classify(batch)
    assert verdicts.log_odds.tolist() == (malicious / 2.0).tolist()
    exponent = np.exp(kinds.astype(np.float64))
    assert np.allclose(verdicts.kind_scores, exponent / exponent.sum(axis=1, keepdims=True))
    assert verdicts.likeness.dtype == np.float32 and verdicts.likeness.shape == (200, 16)


def test_a_bundle_without_kinds_gives_evidence_without_them(classifier):
    assert classifier.classify(windows(3)).kind_scores.shape == (3, 0)
    assert len(classifier.classify(windows(0)).likeness) == 0


def test_a_kind_where_a_window_is_malicious_and_the_model_sure(told_apart):
    batch = windows(500)
    classifier = Classifier(told_apart)
    logits = classifier.logits(batch)
    assert [each.shape for each in logits] == [(500, 3), (500, 3), (500,), (500, 3)]
    verdicts = classifier.classify(batch)
    exponent = np.exp(logits[3].astype(np.float64))
    probability = exponent / exponent.sum(axis=1, keepdims=True)
    expected = [
        KINDS[best] if malicious and sure else ""
        for malicious, best, sure in zip(
            verdicts.malicious, probability.argmax(axis=1), probability.max(axis=1).round(4) >= 0.5, strict=True
        )
    ]
    assert verdicts.malicious_kind == expected
    assert {*expected} == {"", *KINDS}
    given = np.array([kind != "" for kind in expected])
    assert (verdicts.malicious & ~given).any() and not (given & ~verdicts.malicious).any()


def test_kinds_have_a_temperature_and_a_threshold_of_their_own(told_apart):
    batch = windows(300)

    def kinds(temperature: float, threshold: float) -> list[str]:
        changed = dataclasses.replace(
            told_apart,
            temperatures=told_apart.temperatures | {"malicious_kind": temperature},
            thresholds=told_apart.thresholds | {"malicious_kind": threshold},
        )
        return Classifier(changed).classify(batch).malicious_kind

    usual = Classifier(told_apart).classify(batch)
    assert [kind != "" for kind in kinds(1.0, 0.0)] == usual.malicious.tolist()
    assert {*kinds(100.0, 0.5)} == {*kinds(1.0, 1.0)} == {""}


def test_other_answers_are_the_same_with_kinds_and_without(told_apart, classifier):
    batch = windows(200)
    with_them, without = Classifier(told_apart).classify(batch), classifier.classify(batch)
    assert [row[:6] for row in as_rows(with_them)] == [row[:6] for row in as_rows(without)]
    assert {*without.malicious_kind} == {""}


def test_a_model_of_one_kind(tmp_path):
    made = make_bundle(tmp_path, **with_kinds() | {"onnx": network(kinds=1), "malicious_kinds": ["scan"]})
    verdicts = Classifier(bundle.load(made)).classify(windows(100))
    assert [kind == "scan" for kind in verdicts.malicious_kind] == verdicts.malicious.tolist()


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        (0, "the network has no output malicious_kind_logits"),
        (5, "gives malicious_kind_logits of shape (8, 5), the taxonomy wants (8, 3)"),
    ],
)
def test_a_network_that_does_not_fit_the_kinds(tmp_path, kinds, names):
    with pytest.raises(BundleError) as caught:
        Classifier(bundle.load(make_bundle(tmp_path, **with_kinds() | {"onnx": network(kinds=kinds)})))
    assert names in str(caught.value) and "\n" not in str(caught.value) and "model.onnx" in str(caught.value)


def test_unknown_below_the_threshold_and_only_there(classifier):
    verdicts = classifier.classify(windows(500))
    assert [s == "unknown" for s in verdicts.service] == (verdicts.service_score < 0.5).tolist()


def test_an_application_belongs_to_the_service(classifier):
    verdicts = classifier.classify(windows(500))
    pairs = {(s, a) for s, a in zip(verdicts.service, verdicts.application, strict=True) if "unknown" not in (s, a)}
    assert pairs
    for service, application in pairs:
        assert service in APPLICATIONS[application]


def test_with_an_unknown_service_any_application_may_be(loaded):
    strict = dataclasses.replace(loaded, thresholds={"service": 1.0, "application": 0.0, "malicious": 0.5})
    verdicts = Classifier(strict).classify(windows(300))
    assert {a for s, a in zip(verdicts.service, verdicts.application, strict=True) if s == "unknown"} == set(
        APPLICATIONS
    )


def test_a_service_without_applications_has_none(tmp_path):
    made = make_bundle(tmp_path, applications=[{"name": n, "services": ["web"]} for n in "ABC"])
    verdicts = Classifier(bundle.load(made)).classify(windows(300))
    for service, application, score in zip(
        verdicts.service, verdicts.application, verdicts.application_score, strict=True
    ):
        if service in ("chat", "voip"):
            assert (application, score) == ("unknown", 0)


def test_temperature_makes_less_sure(loaded):
    hot = dataclasses.replace(loaded, temperatures=dict.fromkeys(bundle.TASKS, 100.0))
    cool, warm = Classifier(loaded).classify(windows(100)), Classifier(hot).classify(windows(100))
    assert (warm.service_score <= cool.service_score).all()
    assert warm.service_score.max() < 0.4


@pytest.mark.parametrize("network", ["tiny", "kinds", "shipped"])
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 200])
def test_verdicts_do_not_depend_on_company(classifier, told_apart, shipped, network, n):
    classifier = {"tiny": classifier, "kinds": Classifier(told_apart), "shipped": shipped}[network]
    batch = windows(n)
    together = as_rows(classifier.classify(batch))
    alone = [row for i in range(n) for row in as_rows(classifier.classify(batch[i : i + 1]))]
    assert together == alone
    backwards = as_rows(classifier.classify(batch[::-1]))
    assert together == backwards[::-1]


@pytest.mark.parametrize("task", ["service", "application"])
def test_unknown_by_energy_and_scores_stay_probabilities(loaded, classifier, task):
    batch = windows(300)
    usual = classifier.classify(batch)

    def by_energy(most):
        return Classifier(dataclasses.replace(loaded, energies={task: most})).classify(batch)

    none, some, every = (by_energy(most) for most in (-50.0, -2.5, 50.0))
    unknown = [np.mean([label == "unknown" for label in getattr(v, task)]) for v in (none, some, every)]
    assert unknown[0] == 1 and unknown[0] > unknown[1] > unknown[2]
    for verdicts in (none, some, every):
        np.testing.assert_array_equal(verdicts.service_score, usual.service_score)


def test_by_energy_too_an_application_is_the_one_that_the_network_thinks_likeliest(loaded):
    batch = windows(300)
    classifier = Classifier(dataclasses.replace(loaded, energies={"application": 50.0}))
    likeliest = classifier.logits(batch)[1].argmax(axis=1)
    names = [application.name for application in loaded.applications]
    given = classifier.classify(batch).application
    assert {label for label, each in zip(given, likeliest.tolist(), strict=True) if label != names[each]} == {"unknown"}


def test_what_is_surer_has_less_energy_and_what_is_no_number_the_most():
    found = energy(np.array([[9.0, 0, 0], [0, 0, 0], [np.nan, np.nan, np.nan]]), 1.0)
    assert found[0] < found[1] < found[2] == np.inf


def test_many_and_none(classifier):
    batch = windows(1500)
    assert as_rows(classifier.classify(batch))[1100:1200] == as_rows(classifier.classify(batch[1100:1200]))
    assert len(classifier.classify(SeriesBatch.empty())) == 0


def test_a_slice_of_verdicts(classifier):
    verdicts = classifier.classify(windows(10))
    assert as_rows(verdicts[2:5]) == as_rows(verdicts)[2:5]


def flat(network: bytes) -> bytes:
    """The network, with an axis too few for the packets' sizes."""
    model = pytest.importorskip("onnx").load_from_string(network)
    sizes = next(each for each in model.graph.input if each.name == "sizes")
    del sizes.type.tensor_type.shape.dim[1:]
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("made", "names"),
    [
        (lambda: b"not a network", "can't be loaded"),
        (lambda: network(services=5), "service_logits of shape (8, 5)"),
        (lambda: flat(network()), "does not run on this mmtt's features"),
    ],
)
def test_a_network_that_does_not_fit(tmp_path, made, names):
    with pytest.raises(BundleError) as caught:
        Classifier(bundle.load(make_bundle(tmp_path, made())))
    assert names in str(caught.value) and "\n" not in str(caught.value) and "model.onnx" in str(caught.value)
