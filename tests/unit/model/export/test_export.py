import hashlib

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_agent import __version__, bundle
from mmtt_agent.classifier import Classifier
from mmtt_model.evaluation.calibrate import Calibration
from mmtt_model.export import export
from mmtt_model.network.architecture import TASKS, Architecture, Model
from mmtt_model.network.infer import infer

INCIDENTS = {
    "share": "0.1%",
    "quantiles": {"50%": -3.0, "99%": 2.0},
    "pair": {"bias": -3.0, "weights": {"mean": 0.5}, "thresholds": {"1%": 0.3, "0.1%": 0.7}},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(5)
    model = Model(Architecture(width=32, decoder_layers=2), services=2, applications=3, kinds=2).eval()
    directory = tmp_path_factory.mktemp("bundle")
    export.write_bundle(
        directory,
        model,
        name="test",
        services=["web", "chat"],
        applications={"A": ["web"], "B": ["web", "chat"], "C": ["chat"]},
        kinds=["scan", "tunnel"],
        calibration=Calibration(
            dict.fromkeys(TASKS, 1.5), dict.fromkeys(TASKS, 0.5), {"1%": 0.25}, {"application": -2.5}
        ),
        incidents=INCIDENTS,
        trained={"seed": 5},
    )
    return model, directory


@pytest.mark.parametrize("rows", [1, 7, 64, 300])
def test_the_network_equals_torch_at_any_batch_size(exported, rows):
    model, directory = exported
    windows = export._random_windows(rows, seed=rows)
    assert export.largest_difference(model, directory / "model.onnx", windows) < 1e-4


@pytest.mark.parametrize("packets", [1, 8, 9, 20])
def test_the_network_cut_to_the_packets_there_are_equals_torch_on_all_places(exported, packets):
    model, directory = exported
    windows = export._random_windows(64, seed=packets).first(packets)
    assert export.largest_difference(model, directory / "model.onnx", windows) < 1e-4


def test_verdicts_hang_neither_on_the_order_of_windows_nor_on_their_company(exported):
    model, directory = exported
    classifier = Classifier(bundle.load(directory))
    windows = export._random_windows(300, seed=9)
    shuffled = np.random.default_rng(9).permutation(len(windows))
    together, again = classifier.logits(windows), classifier.logits(windows[shuffled])
    for task, expected, found in zip(TASKS, infer(model, windows).values(), together, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=task)
    for found, other in zip(together, again, strict=True):
        np.testing.assert_array_equal(found[shuffled], other)
    for row in range(0, 300, 10):
        alone = classifier.logits(windows[row : row + 1])
        for found, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(found[row], one[0])


def test_a_network_that_is_not_the_model_is_refused(exported, tmp_path, monkeypatch):
    model, _ = exported
    monkeypatch.setattr(export, "largest_difference", lambda *_: 0.5)
    with pytest.raises(export.ExportError, match=r"differ from torch's by 0\.5"):
        export.export_onnx(model, tmp_path / "model.onnx")


def test_the_bundle_loads_and_says_what_it_is(exported):
    _, directory = exported
    loaded = bundle.load(directory)
    assert loaded.mmtt == __version__
    assert loaded.applications[1].services == ("chat", "web")
    assert loaded.temperatures["malicious"] == 1.5
    assert loaded.energies == {"application": -2.5}
    assert bundle.load(directory, "1%").thresholds["malicious"] == 0.25
    assert {path.name for path in directory.iterdir()} == {"model.onnx", "bundle.yaml"}
    content = yaml.safe_load((directory / "bundle.yaml").read_text())
    assert content["incidents"] == INCIDENTS
    assert content["malicious_kinds"] == ["scan", "tunnel"] and set(content["thresholds"]) == set(TASKS)
    assert content["model_sha256"] == hashlib.sha256((directory / "model.onnx").read_bytes()).hexdigest()


def test_the_network_tells_nothing_of_the_machine_it_was_made_on(exported):
    content = (exported[1] / "model.onnx").read_bytes()
    assert not [word for word in (b"site-packages", b"architecture.py", b"/model/") if word in content]


def test_the_shipped_bundle_is_small_and_fits_the_features():
    shipped = bundle.load()
    assert len(shipped.onnx) < 5_000_000
    assert b"site-packages" not in shipped.onnx
