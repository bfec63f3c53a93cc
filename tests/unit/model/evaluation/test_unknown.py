"""Applications left out of training are told from those the model knows."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_agent.classifier import energy
from mmtt_model.config import Config, Evaluation, Training
from mmtt_model.evaluation.unknown import Part, better, left_out, max_probability
from mmtt_model.network.architecture import Architecture
from mmtt_model.training.trainings import Trainings


def test_both_measures_are_higher_for_what_is_less_sure():
    sure, torn, nothing = np.array([[9.0, 0, 0]]), np.array([[9.0, 9, 0]]), np.array([[0.0, 0, 0]])
    assert max_probability(sure, 1) < max_probability(torn, 1) < max_probability(nothing, 1)
    assert energy(torn, 1) < energy(sure, 1) < energy(nothing, 1)
    assert energy(np.array([[900.0, -900.0]]), 2)[0] == -900
    assert energy(np.array([[1.0, 2.0]]), 2)[0] == pytest.approx(-2 * np.log(np.exp(0.5) + np.exp(1)))


def test_the_better_measure_is_chosen_on_the_validation_captures_alone():
    def part(probability, energy):
        return Part(["A"], test={"highest probability": 1.0, "energy": 0.0},
                    validation={"highest probability": probability, "energy": energy})  # fmt: skip

    assert better([part(0.6, 0.9), part(0.7, 0.6)]) == "energy"
    assert better([part(0.6, 0.9), part(0.9, 0.5), part(np.nan, np.nan)]) == "highest probability"
    assert better([part(np.nan, np.nan)]) == better([]) == "highest probability"


def test_each_part_is_left_out_once_and_what_is_unlike_the_rest_is_found(tmp_path):
    made = synthetic()
    # A third application, in windows of a kind of its own.
    rows = np.flatnonzero(made.application != -1)[::5]
    made.application[rows] = 2
    made.series.sizes[rows] = np.where(made.series.sizes[rows] != 0, 400, 0)
    made.applications["Third"] = ["chat"]
    config = Config(
        architecture=TINY["architecture"],
        training=Training(epochs=3, batch=32, learning_rate=0.01),
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
