import math
import re

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_agent.series import SeriesBatch
from mmtt_model import run
from mmtt_model.card import bars
from mmtt_model.cli.train import train as command
from mmtt_model.evaluation.breakdown import HALVES

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_card_shows_what_scores_hang_on(tmp_path, data, tiny, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'mmtt[lab]'")
    long = synthetic()
    rng = np.random.default_rng(1)
    # Full windows, whose first eight packets say nothing.
    sizes = np.where(np.arange(32) < 8, 500, np.where(long.service[:, None], 1200, -50)) + rng.integers(
        0, 30, (len(long), 32)
    )
    long.series = SeriesBatch(
        sizes.astype(np.int32), np.cumsum(np.ones((len(long), 32), np.int32), 1), np.full(len(long), 32, np.int32)
    )
    monkeypatch.setattr(run, "load_or_build", lambda *_: long)
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(tiny), "--data", str(data), "-o", str(out), "--quick"])
    assert result.exit_code == 0, result.output
    card = (out / "CARD.md").read_text()
    rows = {
        row.split("|")[1].strip(): row.split("|")[2].strip()
        for row in card.splitlines()
        if re.match(r"\| \d+ \| [\d.]+", row)
    }
    assert set(rows) == {"4", "6", "8", "12", "16", "24", "32"}
    assert float(rows["4"]) < 0.7 < 0.9 < float(rows["32"])
    assert "| packets 17 to 32 of these |" in card and "| later windows |" in card
    for picture in ("packets", "reliability", "confusion"):
        assert (out / "card" / f"{picture}.png").stat().st_size > 1000 and f"card/{picture}.png" in card
    assert "--quick" in card and "mean of" not in card
    assert re.search(r"repository0 \(\d+; MIT\)", card)


def test_the_card_says_what_is_reached_and_what_is_missed():
    def scores(f1, recall):
        return {
            "service": {"macro_f1": f1 / 2, "macro_f1_many": f1},
            "application": {"windows": 0},
            "malicious": {"auroc": 0.9, "recall_at_1_percent": recall},
        }

    def run_of(f1, recall):
        return {"all": scores(f1, recall), "encrypted": scores(f1 - 0.1, math.nan)}

    figures = {
        "seeds": [run_of(0.6, 0.5), run_of(0.8, 0.5)],
        "peers": {
            "trees": [run_of(0.65, 0.6)],
            "nearest": [run_of(0.5, math.nan)],
            "m, a model for each task": [run_of(0.8, 0.5)],
        },
        "about peers": {"time": 0.34},
        "mid-flow": [{HALVES[0]: scores(0.7, 0.5), HALVES[1]: scores(0.69, 0.4)}],
        "decisions": {
            "all": {"malicious": {"at": {"1%": {"false_positives": 0.015}, "0.1%": {"false_positives": 0.004}}}}
        },
    }
    table = "\n".join(bars.bars("m", "m", figures))
    assert "| service F1 3 points ahead of the best other's | 0.700 | 0.650 (trees) | met |" in table
    assert "| service F1, encrypted flows 3 points ahead of the best other's | 0.600 | 0.550 (trees) | met |" in table
    assert "| recall at 1 % FP 3 points ahead of the best other's | 0.500 | 0.600 (trees) | missed by 0.130 |" in table
    assert "| malicious AUROC 3 points ahead of the best other's | 0.900 | 0.900 (trees) | missed by 0.030 |" in table
    assert "| at most twice the 1% promised of the harmless flagged | 1.50 % | 2.00 % | met |" in table
    assert "| at most twice the 0.1% promised of the harmless flagged | 0.40 % | 0.20 % | missed by 0.002 |" in table
    assert "| service F1 at most half a point behind a model of its own | 0.700 | 0.800 | missed by 0.095 |" in table
    assert "| time of one model, of that of three | 34 % | 40 % | met |" in table
    middle = "recall at 1 % FP from the middle at most 3 points behind that from the start"
    assert f"| {middle} | 0.400 | 0.500 | missed by 0.070 |" in table
    assert "application" not in table
    # Halves that were not pretrained are held against ours that was not.
    named = {"m0": [run_of(0.75, 0.5)], "m0, a model for each task": [run_of(0.8, 0.5)]}
    table = "\n".join(bars.bars("m", "m0", figures | {"peers": named}))
    assert "| service F1 at most half a point behind a model of its own | 0.750 | 0.800 | missed by 0.045 |" in table
