"""Pretraining learns what packets follow from others, from windows that teach nothing about the captures scores are
taken on.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_agent.series import SeriesBatch
from mmtt_model.config import Config, Training
from mmtt_model.data.dataset import Selection, choose
from mmtt_model.data.labels import Labels
from mmtt_model.data.rows import CaptureRows
from mmtt_model.data.sources import Entry
from mmtt_model.data.taxonomy import Taxonomy
from mmtt_model.network.architecture import Architecture, Model
from mmtt_model.training.pretrain import pretrain
from mmtt_model.training.train import fit

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = Config(
    architecture=TINY["architecture"],
    training=Training(epochs=1, windows=64, batch=32, learning_rate=0.01, pretraining=6),
)


def test_hidden_packets_are_guessed_ever_better_and_the_work_is_kept(tmp_path):
    said = []
    made = synthetic()
    model = Model(Architecture(**CONFIG.architecture), 2, 2, 2)
    before = model.text.size.tables[0].clone()
    pretrain(CONFIG, model, made, tmp_path / "cache.safetensors", said.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in said]
    assert len(losses) == 6 and losses[-1] < 0.8 * losses[0]
    assert not torch.equal(before, model.text.size.tables[0])
    again = Model(Architecture(**CONFIG.architecture), 2, 2, 2)
    pretrain(CONFIG, again, made, tmp_path / "cache.safetensors", said.append)
    assert len(said) == 6 and torch.equal(again.text.size.tables[0], model.text.size.tables[0])


def test_packets_that_are_read_as_one_word_are_guessed_each(tmp_path):
    said, made = [], synthetic()
    model = Model(Architecture(**CONFIG.architecture, packets_per_word=2), 2, 2, 2)
    pretrain(CONFIG, model, made, tmp_path / "cache.safetensors", said.append)
    losses = [float(line.split("loss ")[1].split()[0]) for line in said]
    assert losses[-1] < 0.85 * losses[0]


def test_times_that_are_not_known_are_not_guessed_as_none(tmp_path, monkeypatch):
    shown, made, plain = [], synthetic(), Model.inputs
    # Whole steps: 128 windows to train on, and these.
    made.unlabelled, made.unlabelled_timed = made.series[:32], np.zeros(32, bool)

    def inputs(series, timed=None):
        shown.append(timed)
        return plain(series, timed)

    monkeypatch.setattr(Model, "inputs", staticmethod(inputs))
    once = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, pretraining=1, batch=16))
    pretrain(once, Model(Architecture(**CONFIG.architecture), 2, 2, 2), made, tmp_path / "cache", lambda _: None)
    assert (~np.concatenate(shown)).sum() == 32 + (~made.timed[made.rows("train")]).sum()


def test_training_starts_from_what_was_pretrained(tmp_path):
    said = []
    fit(CONFIG, Architecture(**CONFIG.architecture), synthetic(), tmp_path / "checkpoint.safetensors", said.append)
    assert sum(line.startswith("pretraining") for line in said) == 6 and any("epoch 1/1" in line for line in said)


def test_windows_without_labels_are_kept_unless_they_are_of_sites_held_out():
    """Thirty captures of a labelled window and one without a label each, and a capture without labels that holds a copy
    of each labelled window."""

    def window(number, shift):
        return [100 + number, -50, 60 + shift, -70], [0, 1, 2, 3 + number]

    captures = []
    for number in range(30):
        series = SeriesBatch.from_lists(*zip(window(number, 0), window(number, 1), strict=True))
        labels = [Labels("web" if number % 2 else "chat", None, False), Labels()]
        entry = Entry(f"c{number}", Path("x"), f"site{number}")
        timed = np.array([True, number % 2 == 0])
        captures.append(CaptureRows(entry, series, np.zeros(2, np.uint8), timed, labels, {}))
    copies = SeriesBatch.from_lists(*zip(*(window(number, 0) for number in range(30)), strict=True))
    captures.append(
        CaptureRows(
            Entry("mixed", Path("x"), "another site", False), copies, np.zeros(30, np.uint8), np.ones(30, bool),
            [Labels()] * 30, {},
        )
    )  # fmt: skip
    # A capture without labels of a site that is held out, or not.
    more = SeriesBatch.from_lists([[7, 7, 7, 7]], [[0, 1, 2, 3]])
    captures += [
        CaptureRows(Entry(f"more{number}", Path("x"), f"site{number}", False), more, np.zeros(1, np.uint8),
                    np.ones(1, bool), [Labels()], {}) for number in range(30)
    ]  # fmt: skip
    made = choose(captures, Selection(min_sites=1), Taxonomy(), Path("here"), lambda _: None)
    held_out = {int(size) - 100 for size in made.series.sizes[made.split != 0, 0]}
    assert 5 < len(held_out) < 25
    of_sites = made.unlabelled.sizes[:, 0] == 7
    assert of_sites.sum() == 30 - len(held_out)
    sizes, timed = made.unlabelled.sizes[~of_sites, :3], made.unlabelled_timed[~of_sites]
    assert (timed == ((sizes[:, 2] == 60) | (sizes[:, 0] % 2 == 0))).all()
    assert {int(size) - 100 for size in sizes[:, 0]} == set(range(30)) - held_out
    assert len(sizes) == 2 * (30 - len(held_out)), "its own one and the copy"
