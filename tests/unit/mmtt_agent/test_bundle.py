"""A bundle is loaded whole and checked, or refused with one line that names the file and what is wrong."""

import pytest
from tiny_bundle import KINDS, SERVICES, content, make_bundle, network, with_incidents, with_kinds

from mmtt_agent import __version__, bundle
from mmtt_agent.bundle import BundleError
from mmtt_agent.features import FEATURE_VERSION


@pytest.fixture(scope="module")
def onnx():
    return network()


def problem(directory) -> str:
    with pytest.raises(BundleError) as caught:
        bundle.load(directory)
    text = str(caught.value)
    assert "\n" not in text
    assert str(directory) in text
    return text


def test_a_good_bundle(tmp_path, onnx):
    loaded = bundle.load(make_bundle(tmp_path, onnx))
    assert loaded.services == tuple(SERVICES)
    assert [a.name for a in loaded.applications] == ["Alpha", "Beta", "Gamma"]
    assert loaded.model == f"tiny-1@{content(onnx)['model_sha256'][:8]}"
    assert loaded.onnx == onnx


def test_a_bundle_up_to_0_2_0_has_no_kinds_of_malicious(tmp_path, onnx):
    loaded = bundle.load(make_bundle(tmp_path, onnx))
    assert (loaded.malicious_kinds, loaded.tasks) == ((), bundle.TASKS)
    assert {*loaded.temperatures} == {*loaded.thresholds} == {*bundle.TASKS}


def test_the_shipped_bundle_tells_kinds_of_malicious_apart():
    assert {"command_and_control", "scan", "brute_force"} < {*bundle.load().malicious_kinds}


def test_a_bundle_with_kinds_of_malicious(tmp_path):
    loaded = bundle.load(make_bundle(tmp_path, **with_kinds()))
    assert loaded.malicious_kinds == tuple(KINDS)
    assert loaded.tasks == (*bundle.TASKS, "malicious_kind")
    assert (loaded.temperatures["malicious_kind"], loaded.thresholds["malicious_kind"]) == (1.0, 0.5)


def test_what_an_unknown_label_hangs_on(tmp_path, onnx):
    assert bundle.load(make_bundle(tmp_path, onnx)).energies == {}
    abstain = {"service": "probability", "application": "energy"}
    made = make_bundle(tmp_path, onnx, abstain=abstain, energies={"application": -3.25})
    assert bundle.load(made).energies == {"application": -3.25}


def test_the_threshold_for_malicious_can_be_chosen(tmp_path, onnx):
    made = make_bundle(tmp_path, onnx, false_positives={"1%": 0.25, "0.1%": 0.875})
    assert bundle.load(made).thresholds["malicious"] == 0.5
    assert bundle.load(made, "1%").thresholds["malicious"] == 0.25
    assert bundle.load(made, "0.1%").thresholds == {"service": 0.5, "application": 0.5, "malicious": 0.875}


@pytest.mark.parametrize(
    ("thresholds", "has"),
    [({"1%": 0.25, "0.1%": 0.875}, "; there are 0.1%, 1%"), (None, " nor any other share")],
)
def test_a_threshold_that_a_bundle_lacks_is_not_made_up(tmp_path, onnx, thresholds, has):
    made = make_bundle(tmp_path, onnx, false_positives=thresholds)
    with pytest.raises(BundleError) as caught:
        bundle.load(made, "5%")
    assert str(caught.value) == f"{made}/bundle.yaml: false_positives has no threshold for 5%{has}"


def test_a_site_has_thresholds_of_its_own_by_service(tmp_path, onnx):
    loaded = bundle.load(make_bundle(tmp_path, onnx))
    own = bundle.with_thresholds(loaded, {"web": 0.9, "unknown": 0.8})
    assert (own.thresholds, own.of_services) == (loaded.thresholds, {"web": 0.9, "unknown": 0.8})
    own = bundle.with_thresholds(loaded, {"others": 0.7})
    assert own.thresholds == loaded.thresholds | {"malicious": 0.7} and own.of_services == {}


def test_a_bundle_with_incidents(tmp_path, onnx):
    assert bundle.load(make_bundle(tmp_path, onnx)).incidents is None
    made = with_incidents(0.5)
    found = bundle.load(make_bundle(tmp_path, **made)).incidents
    section = made["incidents"]
    assert vars(found.units["pair"]) == section["pair"] and [*found.units] == ["pair"]
    assert (found.share, found.quantiles, found.kinds) == ("0.1%", section["quantiles"], tuple(KINDS))
    # The share that counts may be left out; quantiles come by share, whatever order they are written in.
    del section["share"]
    section["quantiles"] = {"99.5%": 3, "99%": 2, "5%": -6}
    found = bundle.load(make_bundle(tmp_path, **made)).incidents
    assert found.share == "0.1%" and [*found.quantiles] == ["5%", "99%", "99.5%"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ([], "incidents must be a mapping of keys, not []"),
        ({"pair": None}, "incidents.pair.weights is missing"),
        ({"pair": {}}, "incidents.pair.weights is missing"),
        ({"quantiles": None}, "incidents.quantiles must hold thresholds by share, not None"),
        ({"quantiles": {"90%": 1.0, "95%": 0.5}}, "incidents.quantiles must grow with the share"),
        ({"quantiles": {"90%": "high"}}, "incidents.quantiles: 90% must be a number, not 'high'"),
        ({"quantiles": {0.9: 1.0}}, "incidents.quantiles must hold shares such as 0.1%, not 0.9"),
        ({"share": "5%"}, "incidents.pair.thresholds has none for '5%', the share that counts"),
        ({"share": ["5%"]}, "incidents.pair.thresholds has none for ['5%'], the share that counts"),
        ({"couple": {}}, "incidents must hold quantiles, share and pair, originator, responder, not 'couple'"),
        ({"pair.bias": "low"}, "incidents.pair.bias must be a number, not 'low'"),
        ({"pair.bias": None}, "incidents.pair.bias must be a number, not None"),
        ({"pair.weights": {"mean": True}}, "incidents.pair.weights.mean must be a number, not True"),
        ({"pair.weights": {3: 1.0}}, "incidents.pair.weights holds 3, which is none of mean, top, "),
        ({"pair.thresholds": {"0.1%": 1.5}}, "incidents.pair.thresholds: 0.1% must be from 0 to 1, not 1.5"),
    ],
)
def test_wrong_incidents(tmp_path, onnx, change, says):
    section = with_incidents(0.5)["incidents"]
    for key, value in change.items() if isinstance(change, dict) else ():
        part, _, name = key.partition(".")
        if name:
            section[part][name] = value
        else:
            section[part] = value
    text = problem(make_bundle(tmp_path, onnx, incidents=section if isinstance(change, dict) else change))
    assert text.removeprefix(f"{tmp_path}/bundle.yaml: ").startswith(says)


def test_incidents_of_nobody(tmp_path, onnx):
    text = problem(make_bundle(tmp_path, onnx, incidents={"quantiles": {}, "share": "1%"}))
    assert "incidents must hold quantiles, share and pair, originator, responder, one at least" in text


def test_no_directory(tmp_path):
    assert "No such file" in problem(tmp_path / "absent")


def test_no_network(tmp_path, onnx):
    make_bundle(tmp_path, onnx)
    (tmp_path / "model.onnx").unlink()
    assert "model.onnx" in problem(tmp_path)


def test_a_network_that_is_not_the_one_named(tmp_path, onnx):
    make_bundle(tmp_path, onnx)
    (tmp_path / "model.onnx").write_bytes(onnx[:-1])
    assert "SHA-256" in problem(tmp_path)


def test_other_features(tmp_path, onnx):
    make_bundle(tmp_path, onnx, feature_version=FEATURE_VERSION + 1)
    text = problem(tmp_path)
    assert f"feature_version is {FEATURE_VERSION + 1}" in text and f"computes {FEATURE_VERSION}" in text


def test_a_bundle_of_before_0_2_0_does_not_say_who_wrote_it_and_loads(tmp_path, onnx):
    assert bundle.load(make_bundle(tmp_path, onnx)).mmtt is None
    assert bundle.load(make_bundle(tmp_path, onnx, mmtt="0.2.0")).mmtt == "0.2.0"
    assert "mmtt must be a word" in problem(make_bundle(tmp_path, onnx, mmtt=0.2))


def test_the_shipped_bundle_is_this_versions():
    assert bundle.load().mmtt == __version__


@pytest.mark.parametrize("key", ["format", "feature_version"])
@pytest.mark.parametrize(
    ("mmtt", "remedy"),
    [
        ("9.8.7", "install mmtt 9.8.7, which wrote it, or a bundle for"),
        (None, "install a matching mmtt, or a bundle for"),
    ],
)
def test_a_bundle_for_another_mmtt_names_which(tmp_path, onnx, key, mmtt, remedy):
    text = problem(make_bundle(tmp_path, onnx, mmtt=mmtt, **{key: 99}))
    assert f"{key} is 99, this mmtt {__version__} " in text and text.endswith(f"{remedy} {__version__}")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "mapping"),
        ("- a", "mapping"),
        ("{", "not YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML"),
        ("a: \x01", "not YAML"),
        ("[" * 5000, "not YAML"),
    ],
    ids=["empty", "list", "open", "call", "control", "deep"],
)
def test_not_a_mapping(tmp_path, onnx, text, names):
    make_bundle(tmp_path, onnx)
    (tmp_path / "bundle.yaml").write_text(text)
    assert names in problem(tmp_path)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"format": 2}, "format is 2"),
        ({"format": True}, "format must be an integer"),
        ({"name": None}, "name is missing"),
        ({"name": "two words"}, "name must be a word"),
        ({"services": []}, "services must be a list"),
        ({"services": ["web", "web"]}, "twice"),
        ({"services": ["web", "unknown"]}, "'unknown'"),
        ({"services": ["web", 5]}, "5"),
        ({"services": [["web"]]}, "can't be a label"),
        ({"services": ["web", "-"]}, "can't be a label"),
        ({"services": ["ä" * 33]}, "can't be a label"),
        ({"applications": [{"name": "A", "services": ["mail"]}]}, "'mail'"),
        ({"applications": [{"name": "A", "services": []}]}, "list of services"),
        ({"applications": [{"name": "A", "services": ["web"]}] * 2}, "twice"),
        ({"applications": ["A"]}, "applications must each"),
        ({"malicious_kinds": []}, "malicious_kinds must be a list of names"),
        ({"malicious_kinds": "scan"}, "malicious_kinds must be a list of names"),
        ({"malicious_kinds": ["scan", "scan"]}, "malicious_kinds names 'scan' twice"),
        ({"malicious_kinds": ["scan", "unknown"]}, "malicious_kinds holds 'unknown', which can't be a label"),
        ({"malicious_kinds": ["x" * 65]}, "can't be a label"),
        ({"malicious_kinds": ["scan"]}, "thresholds.malicious_kind is missing"),
        (
            {"malicious_kinds": ["scan"], "thresholds": dict.fromkeys((*bundle.TASKS, "malicious_kind"), 0.5)},
            "calibration.malicious_kind.temperature is missing",
        ),
        ({"calibration": {}}, "calibration.service.temperature is missing"),
        ({"calibration": {t: {"temperature": 0} for t in bundle.TASKS}}, "above 0"),
        ({"calibration": {t: {"temperature": float("nan")} for t in bundle.TASKS}}, "must be a number"),
        ({"thresholds": dict.fromkeys(bundle.TASKS, 1.5)}, "from 0 to 1"),
        ({"thresholds": {"service": 0.5}}, "thresholds.application is missing"),
        ({"abstain": "energy"}, "abstain must say by what service and application"),
        ({"abstain": {"malicious": "energy"}}, "abstain must say"),
        ({"abstain": {"service": "odds"}}, "abstain.service must be probability or energy"),
        ({"abstain": {"application": "energy"}}, "energies.application is missing"),
        ({"false_positives": 0.01}, "false_positives must hold thresholds by share"),
        ({"false_positives": {0.01: 0.9}}, "shares such as 0.1%, not 0.01"),
        ({"false_positives": {"1%": 2}}, "false_positives: 1% must be from 0 to 1"),
        ({"false_positives": {"1%": "high"}}, "false_positives: 1% must be a number"),
    ],
)
def test_a_wrong_key(tmp_path, onnx, changes, names):
    assert names in problem(make_bundle(tmp_path, onnx, **changes))


def test_yaml_that_would_be_endless_when_written_out(tmp_path, onnx):
    """Aliases of aliases: 30 lines that stand for a billion words."""
    make_bundle(tmp_path, onnx)
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))]
    good = (tmp_path / "bundle.yaml").read_text()
    for key in ("services", "name", "applications", "format"):
        (tmp_path / "bundle.yaml").write_text("\n".join([good, *lines, f"{key}: [*a29, *a29]"]))
        text = problem(tmp_path)
        assert key in text and len(text) < 400
