"""So many incidents a day: the threshold follows what the last days had."""

import numpy as np
import pytest

from mmtt_agent.incidents import Budget, IncidentModel, UnitModel
from mmtt_agent.incidents.budget import LEAST

MODEL = IncidentModel({"pair": UnitModel(-1.0, {"number": 1.0}, {"1%": 0.6})}, "1%", {}, ())
HOUR, MINUTE = 3_600_000_000, 60_000_000
BEGIN = 1_795_870_800_000_000 // HOUR * HOUR


def days(budget: Budget, first: int, n: int, a_day: int = 480, seed: int = 0, power: float = 1.0) -> list[float]:
    """Episodes of some days, each of one score; those above the threshold of their time."""
    random = np.random.default_rng(seed)
    told = []
    for minute in range(first * 1440, (first + n) * 1440):
        scores = 0.5 + 0.5 * random.random(random.poisson(a_day / 1440)) ** power
        budget.take(BEGIN + minute * MINUTE, [(f"{seed} {minute} {at}", score) for at, score in enumerate(scores)])
        told += [score for score in scores if budget.threshold is not None and score >= budget.threshold]
    return told


def test_a_later_day_has_about_as_many_as_were_asked_for():
    budget = Budget(20, MODEL)
    days(budget, 0, 3)
    assert 40 <= len(days(budget, 3, 3, seed=1)) <= 80


def test_it_follows_what_the_network_has_become():
    budget = Budget(20, MODEL)
    days(budget, 0, 7)
    quiet = budget.threshold
    days(budget, 7, 7, a_day=2000, seed=1)
    assert budget.threshold > quiet
    assert 80 <= len(days(budget, 14, 7, a_day=2000, seed=2)) <= 200


def test_a_day_must_have_been_seen():
    budget = Budget(20, MODEL)
    days(budget, 0, 1)
    early = Budget(20, MODEL)
    for minute in range(23 * 60):
        early.take(BEGIN + minute * MINUTE, [(str(minute), 0.9)])
    assert early.threshold is None and budget.threshold is not None


def test_where_there_is_little_not_all_of_it_is_told():
    budget = Budget(500, MODEL)
    days(budget, 0, 2, a_day=48)
    assert budget.threshold == LEAST


def test_what_goes_on_counts_once():
    budget = Budget(1, MODEL)
    for minute in range(3 * 1440):
        budget.take(BEGIN + minute * MINUTE, [("the same", 0.99)] + [(str(minute), 0.7)] * (minute % 100 == 0))
    assert budget.threshold == pytest.approx(0.99)


def test_the_worst_is_told_however_many_it_are():
    budget = Budget(2, MODEL)
    for minute in range(2 * 1440):
        budget.take(BEGIN + minute * MINUTE, [(str(minute), 1.0)])
    assert budget.threshold == 1.0


def test_it_is_kept_over_a_restart():
    budget, again = Budget(20, MODEL), Budget(20, MODEL)
    days(budget, 0, 3)
    again.restore(budget.as_json())
    assert (again.threshold, again.hours) == (budget.threshold, budget.hours)
    assert 40 <= len(days(again, 3, 3, seed=1)) <= 80


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', "null"])
def test_what_is_no_such_file_is_not_taken(text):
    budget = Budget(20, MODEL)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        budget.restore(text)
    assert budget.threshold is None and budget.hours == 0


def test_another_model_s_scores_are_not_taken():
    budget, other = Budget(20, MODEL), Budget(20, IncidentModel({}, "1%", {}, ()))
    days(budget, 0, 2)
    with pytest.raises(ValueError, match="another model"):
        other.restore(budget.as_json())


def test_it_holds_little_however_much_there_is():
    budget = Budget(10, MODEL)
    for hour in range(400):
        budget.take(BEGIN + hour * HOUR, [(f"{hour} {each}", 0.5 + each / 4000) for each in range(2000)])
    assert len(budget.as_json()) < 500_000 and budget.hours == 168
