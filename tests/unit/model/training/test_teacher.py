import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model import config
from mmtt_model.evaluation import evaluate
from mmtt_model.training import teacher


def test_no_window_is_taught_by_trees_that_knew_its_site(tmp_path, monkeypatch):
    data, seen = synthetic(), []

    def trees(dataset, train, validation, rows, tasks):
        seen.append((set(dataset.site[train]), set(dataset.site[rows])))
        return {
            "service": np.ones((len(rows), 2)),
            "application": np.ones((len(rows), 2)),
            "malicious": np.ones(len(rows)),
            "malicious_kind": np.ones((len(rows), 2)),
        }

    monkeypatch.setattr(teacher.systems, "boosted_trees", trees)
    settings = config.Config()
    logits, _ = teacher.soft_labels(settings, data, tmp_path, lambda _: None)
    assert len(seen) == teacher.FOLDS and not any(known & taught for known, taught in seen)
    assert (logits["malicious"][data.rows("train")] == 1).all() and not logits["malicious"][data.rows("test")].any()
    again, _ = teacher.soft_labels(config.Config(seed=2), data, tmp_path, lambda _: None)
    assert len(seen) == teacher.FOLDS and (again["malicious"] == logits["malicious"]).all()


def test_a_network_that_teaches_beside_the_trees_knows_no_site_that_it_teaches_either(tmp_path, monkeypatch):
    data, seen = synthetic(), []

    def trees(dataset, train, validation, rows, tasks):
        seen.append((set(dataset.site[train]), set(dataset.site[rows])))
        return {
            "service": np.zeros((len(rows), 2)),
            "application": np.zeros((len(rows), 2)),
            "malicious": np.zeros(len(rows)),
            "malicious_kind": np.zeros((len(rows), 2)),
        }

    def fit(settings, build, dataset, checkpoint, say):
        assert set(dataset.site[dataset.rows("train")]) == seen[-1][0]
        assert set(dataset.rows("validation")) == set(data.rows("validation")) and not len(dataset.rows("test"))
        assert build.width == 32 and not settings.training.teacher
        return None, 0.0

    def sure(model, series, timed):
        answers = np.tile([50.0, -50.0], (len(series), 1))
        return {"service": answers, "application": answers, "malicious": answers[:, 0], "malicious_kind": answers}

    monkeypatch.setattr(teacher.systems, "boosted_trees", trees)
    monkeypatch.setattr(teacher, "fit", fit)
    monkeypatch.setattr(teacher, "infer", sure)
    settings = config.Config(training=config.Training(teacher=0.5, teacher_network={"width": 32}))
    rows = data.rows("train")
    for wanted, told in ((0.75, settings), (0.5, config.Config(training=config.Training(teacher=0.5)))):
        logits, _ = teacher.soft_labels(told, data, tmp_path, lambda _: None)
        assert evaluate.sigmoid(logits["malicious"][rows]) == pytest.approx(wanted, abs=1e-3)
    assert len(seen) == 2 * teacher.FOLDS
    # A model of one task alone learns from the same teacher.
    alone = dataclasses.replace(settings.training, service=0.0, application=0.0, malicious_kind=0.0)
    teacher.soft_labels(dataclasses.replace(settings, training=alone), data, tmp_path, lambda _: None)
    assert len(seen) == 2 * teacher.FOLDS
