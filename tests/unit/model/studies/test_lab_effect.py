from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_model.config import Config, Training
from mmtt_model.studies import lab_effect

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_effect_is_scored_on_real_captures_and_the_lab_told_from_them(recorded, tmp_path, monkeypatch):
    pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install 'mmtt[train]'")
    real = synthetic()
    real.services[0] = "web"
    real.window[:] = 0
    monkeypatch.setattr(lab_effect, "load_or_build", lambda *_: real)
    config = Config(architecture=TINY["architecture"], training=Training(epochs=1, windows=64, batch=32))
    text = lab_effect.measure(config, tmp_path, recorded, tmp_path / "out", lambda _: None)
    assert text.count("| real captures |") == text.count("| the lab alone |") == 2
    (line,) = [line for line in text.splitlines() if line.startswith("| web |")]
    # Small packets downwards there, of any size upwards here: easily told.
    assert float(line.split("|")[4]) > 0.9
