"""Applications left out of training are told from those the model knows."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_model.config import Config, Evaluation, Training
from mmtt_model.network.architecture import Architecture
from mmtt_model.studies.unknown_applications import left_out
from mmtt_model.training.trainings import Trainings

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_part_is_left_out_once_and_what_is_unlike_the_rest_is_found(tmp_path):
    made = synthetic()
    # A third application, in windows of a kind of its own.
    rows = np.flatnonzero(made.application != -1)[::5]
    made.application[rows] = 2
    made.series.sizes[rows] = np.where(made.series.sizes[rows] != 0, 400, 0)
    made.applications["Third"] = ["chat"]
    config = Config(
        architecture=TINY["architecture"],
        training=Training(epochs=3, windows=160, batch=32, learning_rate=0.01),
        evaluation=Evaluation(class_folds=3),
    )
    trainings = Trainings(tmp_path, lambda _: None)
    found = left_out(config, Architecture(**config.architecture), made, trainings)()
    assert sorted(name for part in found for name in part.names) == ["Talk", "Third", "Watch"]
    for part in found:
        for scores in (part.test, part.validation):
            assert set(scores) == {"highest probability", "energy"}
            assert all(0 <= score <= 1 for score in scores.values())
    none = left_out(dataclasses.replace(config, evaluation=Evaluation()), Architecture(), made, trainings)
    assert none() == []
