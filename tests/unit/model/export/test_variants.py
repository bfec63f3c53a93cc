"""Faster forms of a network answer as it does, or it is seen that they do not."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_agent import bundle
from mmtt_model.export import export, variants


@pytest.fixture(scope="module")
def forms():
    return variants.make(bundle.load(), export._random_windows(128, seed=1))


def cost(forms, name):
    return variants.compare(forms["as shipped"], forms[name], export._random_windows(200, seed=2))


@pytest.mark.parametrize("name", ["as shipped", "fused by the runtime", "fused for transformers"])
def test_a_fused_network_gives_the_same_answers(forms, name):
    found = cost(forms, name)
    assert found.difference < export.TOLERANCE
    assert found.changed == 0


def test_int8_is_another_and_smaller_network_whose_answers_are_much_the_same(forms):
    found = cost(forms, "int8, static")
    assert 0 < found.difference < 1 and found.changed < 0.1
    assert found.company == 0
    assert len(forms["int8, static"].bundle.onnx) < len(forms["as shipped"].bundle.onnx) / 2


def test_int8_by_the_batchs_own_range_is_seen_to_depend_on_the_batch(forms):
    assert cost(forms, "int8, dynamic").company > 0.5
