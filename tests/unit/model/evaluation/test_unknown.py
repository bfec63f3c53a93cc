import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")


from mmtt_agent.classifier import energy
from mmtt_model.evaluation.unknown import Part, better, max_probability


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
