"""Trainings side by side: what they make is what one after the other makes, and what fails says so."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install 'mmtt[train]'")

from mmtt_model.architecture import Architecture
from mmtt_model.config import Config, Training
from mmtt_model.trainings import Trainings
from test_train import TINY, synthetic

TOLD = Config(architecture=TINY["architecture"], training=Training(epochs=2, batch=32, teacher=0.5))


def test_side_by_side_makes_what_one_after_the_other_makes(tmp_path):
    made, architecture, found = synthetic(), Architecture(**TOLD.architecture), {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        out.mkdir()
        with Trainings(out, lambda _: None, processes) as trainings:
            begun = [trainings.begin(f"seed{seed}", dataclasses.replace(TOLD, seed=seed), architecture, made) for seed in (1, 2)]
            size = trainings.start(len, made)
            found[processes] = [network().state_dict() for network in begun]
            assert size() == len(made)
            assert trainings.all_seconds() > trainings.seconds("seed1", made) > 0
        assert len(list(out.glob("teacher-*.npz"))) == 1, "one teacher serves both"
    for alone, together in zip(*found.values(), strict=True):
        assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert not all(torch.equal(a, b) for a, b in zip(*(each.values() for each in found[1]), strict=True)), "two seeds"


@pytest.mark.parametrize("processes", (1, 2))
def test_what_fails_says_so_where_its_result_is_asked_for(tmp_path, processes):
    with Trainings(tmp_path, lambda _: None, processes) as trainings:
        wrong, right = trainings.start(int, "five"), trainings.start(int, "5")
        with pytest.raises(ValueError, match="five"):
            wrong()
        assert right() == 5
