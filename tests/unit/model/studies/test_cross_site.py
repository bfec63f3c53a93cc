"""Answers for sites that a model has not seen, and what a split by capture would have said instead."""

import dataclasses
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model.config import Config, Evaluation
from mmtt_model.data.lab_windows import LAB
from mmtt_model.data.labels import MISSING
from mmtt_model.network.architecture import TASKS, Architecture, Network
from mmtt_model.studies import by_capture, cross_site


class _Told(Network):
    """A network whose answer is the number of its training."""

    def __init__(self, number):
        super().__init__()
        self.number = torch.nn.Parameter(torch.tensor(float(number)), requires_grad=False)

    @staticmethod
    def inputs(series, timed=None):
        return (torch.zeros(len(series)),)

    def forward(self, nothing):
        answer = self.number.expand(len(nothing))
        return answer[:, None], answer[:, None], answer, answer[:, None]


class _Trainings:
    """Keeps what it is asked to train on."""

    def __init__(self):
        self.begun = []

    def begin(self, name, config, architecture, dataset):
        self.begun.append(dataset)
        return partial(_Told, len(self.begun))


CONFIG = Config(evaluation=Evaluation(site_folds=3))


@pytest.fixture
def made():
    """Two captures of each site; one site of two in training is the lab's."""
    made = synthetic()
    made.site = made.capture // 2
    made.split = np.array([0, 0, 0, 1, 2])[made.site % 5]
    made.sources = [LAB if capture in (0, 1) else source for capture, source in enumerate(made.sources)]
    made.scored[made.capture <= 1] = False
    made.scored[5::16] = False
    made.unlabelled, made.unlabelled_timed = made.series[:9], np.ones(9, bool)
    return made


def test_each_site_of_training_and_validation_is_answered_for_once_by_a_model_without_it(made):
    trainings = _Trainings()
    rows, logits = cross_site.left_out(CONFIG, Architecture(), made, trainings).answers()
    wanted = np.flatnonzero((made.split != 2) & made.scored & (made.capture > 1))
    assert sorted(rows) == wanted.tolist() and set(logits) == set(TASKS)
    for number, parted in enumerate(trainings.begun, 1):
        its = rows[logits["malicious"] == number]
        trained = parted.rows("train")
        assert len(its) and not set(made.site[its]) & set(made.site[trained])
        assert not (made.split[trained] == 2).any(), "nor of the test"
        assert not len(parted.unlabelled), "pretraining would see windows of sites that are left out"
        assert np.isin(np.flatnonzero(made.capture <= 1), trained).all(), "the lab is no network that is left out"
    assert len(trainings.begun) == 3


def test_parts_hold_whole_sites_and_every_class(made):
    parts = cross_site.site_parts(made, 3)
    assert all(len(set(parts[made.site == site])) == 1 for site in set(made.site))
    assert (parts[(made.split == 2) | (made.capture <= 1)] == MISSING).all() and set(parts) == {MISSING, 0, 1, 2}
    assert all(set(made.service[parts == part]) == {0, 1} for part in range(3))


def test_by_capture_sites_are_on_both_sides_and_the_lab_is_only_trained_on(made):
    trainings = _Trainings()
    # The lab's have no label where only their kind would be one.
    for values in (made.service, made.application, made.malicious):
        values[made.capture <= 1] = MISSING
    scores = by_capture.begin(CONFIG, Architecture(), dataclasses.replace(made), trainings)()
    (parted,) = trainings.begun
    assert all(len(set(parted.split[made.capture == capture])) == 1 for capture in set(made.capture))
    assert set(made.site[parted.rows("test")]) & set(made.site[parted.rows("train")])
    assert (parted.split[made.capture <= 1] == 0).all()
    assert scores["all"]["service"]["windows"] == len(parted.rows("test"))
