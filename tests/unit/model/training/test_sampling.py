"""Which windows are drawn, and how much each then counts in each task."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_model.config import Config, Training
from mmtt_model.data.lab_windows import LAB
from mmtt_model.data.labels import MISSING
from mmtt_model.data.weights import weights
from mmtt_model.network.architecture import Architecture
from mmtt_model.training.sampling import sampling
from mmtt_model.training.train import fit

pytestmark = pytest.mark.usefixtures("one_thread")

ROWS = np.arange(240)


def uneven():
    """Of one repository 200 windows of service 0, of another 20 of service 1, of a third 20 without any label."""
    made = synthetic(30, 8)
    made.capture = np.repeat([0, 1, 2], [200, 20, 20])
    made.sources = ["large", "small", "without"]
    made.service = np.repeat([0, 1, MISSING], [200, 20, 20])
    made.application = made.service.copy()
    made.malicious = made.service.copy()
    made.malicious_kind = np.where(made.service == 1, 0, MISSING)
    return made


def test_what_is_drawn_is_what_the_tasks_want_and_a_little_of_everything():
    made = uneven()
    chance, _ = sampling(made, ROWS, 0.5)
    parts = np.bincount(made.capture, chance)
    assert chance.sum() == pytest.approx(1)
    assert parts[0] / parts[1] < 2 < 10 == (made.capture == 0).sum() / (made.capture == 1).sum()
    assert 0 < chance[-1] < chance[0] / 3, "also what has no label"


def test_draws_and_what_they_count_make_up_the_weights_of_each_task():
    made = uneven()
    chance, counts = sampling(made, ROWS, 0.5)
    for task, count in counts.items():
        wanted = weights(made, ROWS, task)
        assert chance * count == pytest.approx(wanted / wanted.sum(), rel=1e-5), task
    assert not counts["service"][-20:].any() and not counts["malicious_kind"][:200].any()


def test_a_window_that_is_seldom_drawn_does_not_count_for_hundreds():
    made = uneven()
    # One that only the kind is known of is drawn by chance alone.
    made.service[-1] = made.application[-1] = made.malicious[-1] = MISSING
    made.malicious_kind[:] = MISSING
    made.malicious_kind[-1] = 1
    _, counts = sampling(made, ROWS, 0.5)
    assert counts["malicious_kind"][-1] == pytest.approx(20)


def test_only_the_rows_asked_for_count():
    _, counts = sampling(uneven(), ROWS[100:], 0.5)
    assert all(len(count) == 240 and not count[:100].any() for count in counts.values())


def test_the_lab_has_its_share_of_the_draws_and_counts_as_much_in_all():
    made = uneven()
    made.sources[1] = LAB
    plain, share = ((sampling(made, ROWS, lab)[0], lab) for lab in (0.1, 0.4))
    for chance, lab in (plain, share):
        assert chance[made.capture == 1].sum() == pytest.approx(lab)


def config(**changes):
    settings = Training(**{"epochs": 1, "windows": 64, "batch": 32, "learning_rate": 0.02} | changes)
    return Config(architecture=TINY["architecture"], training=settings)


def test_an_epoch_draws_as_many_windows_as_told_whatever_there_is(tmp_path, monkeypatch):
    from mmtt_model.training import train

    drawn, plain = [], train.augment
    monkeypatch.setattr(train, "augment", lambda series, *rest: drawn.append(len(series)) or plain(series, *rest))
    fit(config(epochs=2), Architecture(**TINY["architecture"]), synthetic(), tmp_path / "c.safetensors", lambda _: None)
    assert drawn == [32, 32] * 2


def test_another_way_of_training_does_not_take_up_the_checkpoint(tmp_path):
    build, said = Architecture(**TINY["architecture"]), []
    fit(config(), build, synthetic(), tmp_path / "c.safetensors", said.append)
    fit(config(windows=96), build, synthetic(), tmp_path / "c.safetensors", said.append)
    assert "begun anew" in said[1] and said[2].startswith("epoch 1/1")


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_times_are_hidden_in_the_share_told_and_always_where_they_are_not_known(tmp_path, monkeypatch, hidden):
    from mmtt_model.network.architecture import Model

    shown, plain = [], Model.inputs

    def inputs(series, timed=None):
        if len(series) == 32:
            shown.append(timed)
        return plain(series, timed)

    monkeypatch.setattr(Model, "inputs", staticmethod(inputs))
    made = synthetic()
    # No window of validation is asked for in batches of 32.
    made.split = np.where(made.split == 1, 2, made.split)
    fit(config(no_gaps=hidden), Architecture(**TINY["architecture"]), made, tmp_path / "c", lambda _: None)
    every = np.concatenate(shown)
    assert every.any() == (hidden == 0) and not every.all()


def test_what_ships_is_the_mean_at_the_end_whatever_validation_says(tmp_path):
    one, other = synthetic(), synthetic()
    rows = other.rows("validation")
    other.service[rows] = 1 - other.service[rows]
    build = Architecture(**TINY["architecture"])
    models = [
        fit(dataclasses.replace(config(epochs=3)), build, made, tmp_path / f"{each}.safetensors", lambda _: None)[0]
        for each, made in enumerate((one, other))
    ]
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
