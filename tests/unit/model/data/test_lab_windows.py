"""The lab's windows are trained on with the truth's labels, and nothing is scored on them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import zstandard
from lab_run import SCENARIO, udp

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from click.testing import CliRunner
from synthetic import TINY, synthetic

from mmtt_model.cli.lab import lab
from mmtt_model.config import Config, Training
from mmtt_model.data.dataset import MISSING, DatasetError, Selection
from mmtt_model.data.lab_windows import lab_rows, with_lab
from mmtt_model.lab import truth
from mmtt_model.lab.scenario import parse, plan
from mmtt_model.lab.wire import Tap
from mmtt_model.studies import lab_effect
from mmtt_model.training.train import sampling


@pytest.fixture
def recorded(tmp_path):
    """A lab's directory with 8 captures, each with 5 web flows and a beacon."""
    made, directory = plan(parse(SCENARIO, "test"), 0), tmp_path / "lab"
    (directory / "captures").mkdir(parents=True)
    web, beacon = (step.address for step in made.steps)
    draw, rows = random.Random(1), []
    for number in range(8):
        path = directory / "captures" / f"{number}.pcap"
        tap = Tap(path, 160)
        for flow in range(6):
            for turn in range(8):
                target = beacon if flow == 5 else web
                tap.packet(
                    1000.0 + flow * 9 + turn * draw.random(),
                    udp("10.77.0.1", target, (40000 + flow, 443), draw.randrange(50, 1200)),
                )
        tap.file.close()
        joined, _ = truth.join(truth.flows_of(path)[0], made)
        rows += [truth.row(path.name, flow, step, {}, "cable") for flow, step in joined]
    (directory / "flows.tsv.zst").write_bytes(zstandard.compress(truth.table(truth.COLUMNS, rows).encode()))
    return directory


def test_lab_windows_join_the_training_part_alone(recorded):
    plain = synthetic()
    both = with_lab(plain, recorded, Selection(lab_malicious=True), lambda _: None)
    added = lab_rows(both)
    assert added.sum() == 48 and len(both) == len(plain) + 48
    assert (both.rows("test") == plain.rows("test")).all() and (
        both.rows("validation") == plain.rows("validation")
    ).all()
    harmless = both.service[added & (both.malicious == 0)]
    assert {both.services[number] for number in harmless} == {"web"}
    # A beacon over HTTPS is no example of what the web is like.
    assert (both.service[added & (both.malicious == 1)] == MISSING).all()
    assert both.malicious[added].sum() == 8
    assert not (set(both.recording[added]) & set(plain.recording))


def test_what_is_malicious_in_the_lab_is_taught_only_if_asked_for(recorded):
    both = with_lab(synthetic(), recorded, Selection(), lambda _: None)
    assert (both.malicious[lab_rows(both)] == MISSING).all()


def test_the_lab_is_drawn_as_often_as_told(recorded):
    both = with_lab(synthetic(), recorded, Selection(), lambda _: None)
    train = both.rows("train")
    chance, _ = sampling(both, train, "captures", 0.3)
    assert chance[lab_rows(both)[train]].sum() == pytest.approx(0.3)


def test_the_effect_is_scored_on_real_captures_and_the_lab_told_from_them(recorded, tmp_path, monkeypatch):
    pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install 'mmtt[train]'")
    real = synthetic()
    real.services[0] = "web"
    real.window[:] = 0
    monkeypatch.setattr(lab_effect, "load_or_build", lambda *_: real)
    config = Config(architecture=TINY["architecture"], training=Training(epochs=1, batch=32))
    text = lab_effect.measure(config, tmp_path, recorded, tmp_path / "out", lambda _: None)
    assert text.count("| real captures |") == text.count("| the lab alone |") == 2
    (line,) = [line for line in text.splitlines() if line.startswith("| web |")]
    # Small packets downwards there, of any size upwards here: easily told.
    assert float(line.split("|")[4]) > 0.9


def test_what_is_no_lab_directory_says_what_to_run(tmp_path):
    with pytest.raises(DatasetError, match="mmtt lab run"):
        with_lab(synthetic(), tmp_path, Selection(), lambda _: None)
    (tmp_path / "flows.tsv.zst").write_bytes(b"not zstd")
    result = CliRunner().invoke(lab, ["report", str(tmp_path)])
    assert result.exit_code == 1 and "damaged" in result.output and np.size(result.output.splitlines()) == 1
