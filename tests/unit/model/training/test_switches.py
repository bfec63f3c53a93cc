"""How windows are drawn and what counts how much in the losses, each way that the configuration knows."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from safetensors import safe_open
from synthetic import TINY, synthetic

from mmtt_model.config import Config, Training
from mmtt_model.data.lab_windows import LAB
from mmtt_model.data.labels import MISSING
from mmtt_model.network.architecture import Architecture
from mmtt_model.training.losses import class_weights
from mmtt_model.training.sampling import sampling
from mmtt_model.training.train import fit


def uneven():
    """180 windows of service 0 (one capture of 80, ten of 10), 20 of service 1 (four of 5), 40 without a service (one
    capture).
    """
    made = synthetic(30, 8)
    made.service = np.repeat([0, 1, MISSING], [180, 20, 40])
    made.capture = np.repeat(np.arange(16), [80, *[10] * 10, *[5] * 4, 40])
    made.sources = ["real"] * 16
    return made, np.arange(240)


def by_service(made, chance):
    return {service: chance[made.service == service].sum() for service in (0, 1, MISSING)}


def test_plain_draws_every_window_alike():
    made, rows = uneven()
    chance, drawn = sampling(made, rows, "plain", 0.5)
    assert drawn == 240 and np.allclose(chance, 1 / 240)


def test_a_capture_counts_by_the_root_of_its_windows():
    made, rows = uneven()
    chance, drawn = sampling(made, rows, "captures", 0.5)
    assert drawn == 240 and chance.sum() == pytest.approx(1)
    assert chance[:80].sum() / chance[80:90].sum() == pytest.approx(8**0.5)


@pytest.mark.parametrize(("way", "length"), [("balanced", 240), ("over", 240 * 180 / 100), ("down", 240 * 20 / 100)])
def test_balanced_draws_every_service_as_often(way, length):
    made, rows = uneven()
    chance, drawn = sampling(made, rows, way, 0.5)
    shares = by_service(made, chance)
    assert drawn == int(length)
    assert shares[0] == pytest.approx(shares[1]) == pytest.approx(100 / 240) and shares[MISSING] == pytest.approx(
        40 / 240
    )
    assert chance[:80].sum() / chance[80:90].sum() == pytest.approx(8**0.5), "and within a service as captures are"


@pytest.mark.parametrize(
    ("way", "real"), [("captures", 200), ("plain", 200), ("balanced", 200), ("over", 360), ("down", 40)]
)
def test_the_lab_comes_on_top_in_its_share(way, real):
    made, rows = uneven()
    made.sources[-1] = LAB
    made.service[-40:] = np.repeat([0, 1], [30, 10])
    chance, drawn = sampling(made, rows, way, 0.2)
    assert drawn == int(real / 0.8) and chance[-40:].sum() == pytest.approx(0.2)
    if way in ("balanced", "over", "down"):
        shares = by_service(made, chance)
        assert shares[0] == pytest.approx(shares[1])


def test_classes_count_by_the_root_or_the_effective_number_of_their_windows_or_alike():
    made, rows = uneven()
    root, balanced, none = (class_weights(made, rows, way)["service"].tolist() for way in ("root", "balanced", "none"))
    assert root[1] / root[0] == pytest.approx(3) and none == [1, 1]
    # Cui et al. 2019, equation 2, at beta 0.999.
    assert balanced[1] / balanced[0] == pytest.approx((1 - 0.999**180) / (1 - 0.999**20))
    assert sum(root) == pytest.approx(2) and sum(balanced) == pytest.approx(2)


def learned(epochs):
    settings = Training(epochs=epochs, batch=32, learning_rate=0.02, augment=0.0, malicious=0.5, task_weights="learned")
    return Config(architecture=TINY["architecture"], training=settings)


def noise(path):
    with safe_open(path, "pt") as file:
        return {name.split("/")[1]: file.get_tensor(name).item() for name in file.keys() if name.startswith("noise/")}  # noqa: SIM118 - no dict


def test_learned_weights_leave_a_task_that_can_not_be_learned_the_least(tmp_path):
    made = synthetic()
    made.application = np.random.default_rng(1).integers(0, 2, len(made))
    path = tmp_path / "c.safetensors"
    model, _ = fit(learned(8), Architecture(**TINY["architecture"]), made, path, lambda _: None)
    of = noise(path)
    assert set(of) == {"service", "application", "malicious"}
    assert of["service"] < 0 < of["application"] and of["malicious"] < np.log(2), "each from where its weight says"
    assert not [name for name in model.state_dict() if "noise" in name], "what ships knows nothing of it"


def test_learned_weights_are_taken_up_again(tmp_path):
    def stop(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    settings, build, made = learned(3), Architecture(**TINY["architecture"]), synthetic()
    whole, _ = fit(settings, build, made, tmp_path / "whole.safetensors", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, build, made, tmp_path / "cut.safetensors", stop)
    again, _ = fit(settings, build, made, tmp_path / "cut.safetensors", lambda _: None)
    assert noise(tmp_path / "cut.safetensors") == noise(tmp_path / "whole.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_a_task_without_a_weight_has_none_to_learn(tmp_path):
    settings = learned(1)
    settings = dataclasses.replace(settings, training=dataclasses.replace(settings.training, application=0.0))
    fit(settings, Architecture(**TINY["architecture"]), synthetic(), tmp_path / "c.safetensors", lambda _: None)
    assert set(noise(tmp_path / "c.safetensors")) == {"service", "malicious"}


def test_another_way_of_training_does_not_take_up_the_checkpoint(tmp_path):
    settings, build, said = learned(1), Architecture(**TINY["architecture"]), []
    fit(settings, build, synthetic(), tmp_path / "c.safetensors", said.append)
    other = dataclasses.replace(settings, training=dataclasses.replace(settings.training, sampling="balanced"))
    fit(other, build, synthetic(), tmp_path / "c.safetensors", said.append)
    assert "begun anew" in said[1] and said[2].startswith("epoch 1/1")
