"""Thresholds for a number of notices a day: on days that they were not chosen by the number is about that."""

from __future__ import annotations

import numpy as np
import pytest

from mmtt_agent.learn.budget import STEPS, SUPPRESSED, Events, Seen, TooFew, TooMany, notices, propose

DAY, MINUTE = 86_400_000_000, 60_000_000
SERVICES = ("web", "iot", "tunnel", "voip", "email")
HOURS = 1 + 3 * ((np.arange(24) > 7) & (np.arange(24) < 19))
#: Windows a day, of each service; how heavy the tail of its scores is; and how many responders there are.
SITE = {
    "web": (20_000, 0.02, 3000),
    "iot": (3000, 0.4, 40),  # noisy: a few things that score high all day
    "tunnel": (500, 0.1, 25),
    "voip": (60, 0.05, 10),
    "email": (30, 0.05, 5),
}


def days(first: int, n: int, seed: int, site=SITE) -> Events:
    """Poisson arrivals, more by day than by night, of responders of which few have most; scores with a heavy tail, like
    among one responder's."""
    rng = np.random.default_rng(seed)
    hosts = np.random.default_rng(1)  # the same on all days
    parts = []
    for service, (a_day, tail, responders) in enumerate(site.values()):
        leaning = hosts.exponential(1.0, responders)
        for day in range(first, first + n):
            count = rng.poisson(a_day)
            hour = rng.choice(24, count, p=HOURS / HOURS.sum())
            ts = day * DAY + (hour * 60 + rng.uniform(0, 60, count)) * MINUTE
            who = np.minimum(rng.zipf(1.6, count) - 1, responders - 1)
            log_odds = -4 + 1.2 * rng.standard_normal(count) + tail * 2.5 * leaning[who] * rng.exponential(1.0, count)
            score = np.rint(STEPS / (1 + np.exp(-log_odds)))
            parts.append((ts, score, np.full(count, service), who + 10_000 * service))
    ts, score, of, alike = (np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True))
    return Events(ts, score, of, alike, list(site))


def by_hand(events: Events, thresholds) -> int:
    """Zeek's own way: one after the other."""
    until: dict[int, int] = {}
    told = 0
    for row in np.argsort(events.ts, kind="stable").tolist():
        ts, alike = int(events.ts[row]), int(events.alike[row])
        if events.score[row] >= thresholds[events.of[row]] and ts > until.get(alike, -1):
            until[alike] = ts + SUPPRESSED
            told += 1
    return told


def test_what_zeek_does_not_repeat_counts_once():
    at = np.array([0, 30, 60, 61, 90, 200, 10]) * MINUTE
    alike = np.array([0, 0, 0, 0, 0, 0, 1])
    events = Events(at, np.full(7, STEPS), np.zeros(7, np.int64), alike, ["web"])
    chosen = events.in_order()
    assert (chosen.ts[notices(chosen, np.array([1]))] // MINUTE).tolist() == [0, 61, 200, 10]


@pytest.mark.parametrize("seed", range(3))
def test_notices_are_those_that_zeek_would_raise_one_after_the_other(seed):
    events = days(0, 2, seed)
    for threshold in (0, 100, 2000, 9000):
        thresholds = np.full(5, threshold)
        assert len(notices(events.in_order(), thresholds)) == by_hand(events, thresholds)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_day", [5, 20, 100])
def test_a_later_day_has_about_as_many_as_were_asked_for(per_day, seed):
    found = propose(days(0, 7, seed), 7 * per_day)
    later = days(7, 7, 1000 + seed).in_order()
    got = len(notices(later, found.thresholds)) / 7
    assert per_day / 1.5 <= got <= per_day * 1.5, got


def test_no_more_are_taken_than_asked_for_on_the_days_that_are_known():
    known = days(0, 5, 5)
    assert 0.8 * 100 <= by_hand(known, propose(known, 100).thresholds) <= 100


def test_a_noisy_service_takes_nothing_of_the_others():
    quiet = {**SITE, "iot": (3000, 0.02, 40)}
    with_noise, without = propose(days(0, 7, 3), 140), propose(days(0, 7, 3, quiet), 140)
    web = SERVICES.index("web")
    assert abs(int(with_noise.thresholds[web]) - int(without.thresholds[web])) < 300
    # With one threshold for all it would have most.
    known = days(0, 7, 3).in_order()
    told = known.of[notices(known, with_noise.thresholds)]
    assert np.count_nonzero(told == SERVICES.index("iot")) < len(told) / 2


def test_services_that_are_seldom_have_one_threshold_together():
    found = propose(days(0, 3, 2), 30)
    together = {SERVICES[at] for at in np.flatnonzero(found.together)}
    assert {"voip", "email"} <= together and "web" not in together
    assert {int(found.thresholds[SERVICES.index(name)]) for name in together} == {found.others}


def test_scores_that_can_be_no_higher_are_said():
    events = days(0, 2, 1)
    score = events.score.copy()
    score[events.of == SERVICES.index("tunnel")] = STEPS
    stuck = Events(events.ts, score, events.of, events.alike, SERVICES)
    top = by_hand(stuck, np.full(5, STEPS))
    with pytest.raises(TooMany) as caught:
        propose(stuck, top - 1)
    assert caught.value.notices == top
    found = propose(stuck, 2 * top)
    assert found.full.tolist() == [False, False, True, False, False]
    assert by_hand(stuck, found.thresholds) <= 2 * top


def test_fewer_than_asked_for_are_said():
    events = days(0, 1, 1)
    with pytest.raises(TooFew):
        propose(events, 1_000_000)


@pytest.mark.parametrize("mean", [2, 20, 200])
def test_nine_in_ten_intervals_hold_the_rate(mean):
    rng = np.random.default_rng(mean)
    held = 0
    for _ in range(500):
        counts = rng.poisson(mean, 7)
        ts = np.concatenate([np.full(n, day * DAY) for day, n in enumerate(counts)]).astype(np.int64)
        rate = Seen(7.0, tuple(range(7))).rate(ts)
        held += rate.low <= mean <= rate.high
    assert 0.87 <= held / 500 <= 0.99


def test_days_that_differ_make_the_interval_wider():
    even = np.repeat(np.arange(7), 20) * DAY
    uneven = np.repeat(np.arange(7), [2, 2, 60, 2, 2, 70, 2]) * DAY
    seen = Seen(7.0, tuple(range(7)))
    assert seen.rate(even).mean == seen.rate(uneven).mean == 20
    assert seen.rate(uneven).high - seen.rate(uneven).low > 3 * (seen.rate(even).high - seen.rate(even).low)


def test_none_seen_is_not_none_ever():
    rate = Seen(2.0, ()).rate(np.zeros(0, np.int64))
    assert rate.mean == rate.low == 0 and 0.5 < rate.high < 2.5
