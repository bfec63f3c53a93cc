"""Applications left out of training are told from those the model knows."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_model.architecture import Architecture
from mmtt_model.config import Config, Evaluation, Training
from mmtt_model.unknown import energy, left_out, max_probability
from test_train import TINY, synthetic


def test_both_measures_are_higher_for_what_is_less_sure():
    sure, torn, nothing = np.array([[9.0, 0, 0]]), np.array([[9.0, 9, 0]]), np.array([[0.0, 0, 0]])
    assert max_probability(sure) < max_probability(torn) < max_probability(nothing)
    assert energy(torn) < energy(sure) < energy(nothing)
    assert np.isfinite(energy(np.array([[900.0, -900.0]]))).all()


def test_each_part_is_left_out_once_and_what_is_unlike_the_rest_is_found(tmp_path):
    made = synthetic()
    # A third application, in windows of a kind of its own.
    rows = np.flatnonzero(made.application != -1)[::5]
    made.application[rows] = 2
    made.series.sizes[rows] = np.where(made.series.sizes[rows] != 0, 400, 0)
    made.applications["Third"] = ["chat"]
    config = Config(architecture=TINY["architecture"], training=Training(epochs=3, batch=32, learning_rate=0.01),
                    evaluation=Evaluation(class_folds=3))
    found = left_out(config, Architecture(**config.architecture), made, tmp_path, lambda _: None)
    assert set(found) == {"highest probability", "energy"}
    for parts in found.values():
        assert sorted(name for names, _ in parts for name in names) == ["Talk", "Third", "Watch"]
        assert all(0 <= score <= 1 for _, score in parts)
    none = left_out(dataclasses.replace(config, evaluation=Evaluation()), Architecture(), made, tmp_path, lambda _: None)
    assert none == {}
