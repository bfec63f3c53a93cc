import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model import config
from mmtt_model.data import dataset
from mmtt_model.evaluation.calibrate import Calibration, calibrate, decisions


def test_each_threshold_for_malicious_flags_at_most_its_share_of_the_harmless():
    made, rows = synthetic(250), np.arange(2000)
    rng = np.random.default_rng(5)
    logits = {"service": np.eye(2)[made.service], "application": np.eye(2)[made.service],
              "malicious": made.malicious * 2 + rng.normal(size=2000),
              "malicious_kind": np.zeros((2000, 2))}  # fmt: skip
    settings = config.Decision(false_positives=0.02)
    calibration = calibrate(settings, made, rows, logits)
    assert list(calibration.false_positives) == ["2%", "1%", "0.1%"]
    decided = decisions(made, rows, logits, calibration)["malicious"]
    for share, flags in decided["at"].items():
        allowed = float(share[:-1]) / 100
        assert allowed - 0.002 <= flags["false_positives"] <= allowed
    assert (
        decided["at"]["2%"]["recall"]
        == decided["recall"]
        > decided["at"]["1%"]["recall"]
        > decided["at"]["0.1%"]["recall"]
    )


def test_by_energy_or_probability_answers_are_as_right_as_asked_for():
    made, rows = synthetic(250), np.arange(2000)
    rng = np.random.default_rng(6)
    # Half of the windows say little.
    clear = np.where(rng.random(2000) < 0.5, 5.0, 0.5)[:, None]
    noisy = np.eye(2)[made.service] * clear + rng.normal(size=(2000, 2))
    made.application[:] = made.service
    logits = {"service": noisy, "application": noisy, "malicious": noisy[:, 1], "malicious_kind": noisy}
    for by_energy in ((), ("application",)):
        calibration = calibrate(config.Decision(accuracy=0.95), made, rows, logits, by_energy)
        assert tuple(calibration.energies) == by_energy
        decided = decisions(made, rows, logits, calibration)
        assert decided["application"]["accuracy"] == pytest.approx(0.95, abs=0.01)
        assert 0.3 < decided["application"]["answered"] < 1


def test_a_kind_is_given_only_to_what_is_flagged():
    made, rows = synthetic(250), np.arange(2000)
    known = made.malicious_kind != dataset.MISSING
    flagged = np.arange(2000) % 4 == 0
    logits = {
        "service": np.eye(2)[made.service], "application": np.eye(2)[made.service],
        "malicious": np.where(flagged & known, 9.0, -9.0), "malicious_kind": 9 * np.eye(2)[made.malicious_kind.clip(0)],
    }  # fmt: skip
    calibration = Calibration(dict.fromkeys(logits, 1.0), dict.fromkeys(logits, 0.5), {"1%": 0.5})
    found = decisions(made, rows, logits, calibration)
    assert found["malicious_kind"] == {"answered": flagged[known].mean(), "accuracy": 1}
    assert found["malicious"]["recall"] == flagged[known].mean() and found["malicious"]["false_positives"] == 0
