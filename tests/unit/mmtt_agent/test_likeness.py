"""Likeness: unit vectors, alike where the network says the same."""

import numpy as np

from mmtt_agent.likeness import likeness


def probabilities(n: int, labels: int, seed: int = 1) -> np.ndarray:
    exponent = np.exp(np.random.default_rng(seed).normal(0, 3, (n, labels)))
    return exponent / exponent.sum(axis=1, keepdims=True)


def test_the_same_answers_are_alike_and_others_less():
    answers = probabilities(200, 18), probabilities(200, 140)
    found = likeness(answers)
    assert np.allclose((found * found).sum(axis=1), 1)
    again = likeness([part[::-1] for part in answers])
    assert np.allclose((found * again[::-1]).sum(axis=1), 1)
    assert (found * again).sum(axis=1).mean() < 0.7


def test_it_does_not_depend_on_the_company():
    answers = probabilities(9, 18), probabilities(9, 0)
    alone = [likeness([part[i : i + 1] for part in answers])[0] for i in range(9)]
    assert np.allclose(likeness(answers), alone, atol=1e-7)


def test_no_answer_is_like_none():
    assert likeness([np.zeros((2, 5))]).tolist() == [[0.0] * 16] * 2


def test_the_directions_stay_what_they_are():
    # Evidence of bundles is fitted on them.
    expected = np.array([0.05757808, -0.38653314, 0.13003063, 0.23870057])
    assert np.allclose(likeness([np.array([[1.0, 0.0]])])[0, :4], expected, atol=1e-5)
