"""Alerts asked for and got, on a site whose two halves are alike, and on those of which nothing can be said."""

from types import SimpleNamespace

import numpy as np

from mmtt_model.data.labels import MISSING
from mmtt_model.incidents.answers import Answers
from mmtt_model.incidents.budget import ASKED, budgets


def made(windows: int, part: int = 0, seed: int = 1):
    """Captures of three sites: one of that many windows, a small one, and one that the networks have seen."""
    random = np.random.default_rng(seed)
    of = np.repeat([0, 1, 2], [windows, 50, windows])
    n = len(of)
    logits = {"malicious": random.normal(-2, 2, n), "service": random.normal(0, 1, (n, 2))}
    pairs = SimpleNamespace(
        sites=["one", "small", "seen"], capture=of, connection=np.arange(n), ts=np.arange(n) * 60_000_000,
        resp=random.integers(0, 100, n),
    )  # fmt: skip
    return pairs, Answers(np.array([part, part, MISSING]), logits)


def test_a_later_half_like_the_earlier_one_gets_about_what_is_asked_for():
    (found,) = budgets(*made(6000), 1.0, ["web", "mail"])
    assert (found.site, found.windows, found.asked) == ("one", 3000, ASKED)
    assert found.possible > found.given and ASKED - 3 <= found.given <= ASKED
    assert ASKED / 2 < found.got < ASKED * 2


def test_a_site_whose_alerts_are_too_few_is_left_out():
    pairs, answers = made(6000)
    pairs.resp[:] = 1  # all is alike, and Zeek tells once an hour
    pairs.ts = pairs.ts // 1000
    assert budgets(pairs, answers, 1.0, ["web", "mail"]) == []
