"""Behaviour models: seeded, and of the size their sources say."""

from __future__ import annotations

import itertools
import statistics
from random import Random

from mmtt_model.lab import behaviour
from mmtt_model.lab.activities.voip import packets


def test_a_seed_repeats_behaviour():
    assert behaviour.page(Random(3)) == behaviour.page(Random(3))
    assert behaviour.page(Random(3)) != behaviour.page(Random(4))


def test_typing_is_as_fast_as_people_type():
    draw = Random(1)
    keys = [behaviour.keystroke(draw) for _ in range(5000)]
    assert 0.2 < statistics.mean(keys) < 0.45


def test_speech_takes_two_fifths_of_a_call():
    spurts = list(itertools.islice(behaviour.talk(Random(2)), 4000))
    spoken = sum(lasts for speaking, lasts in spurts if speaking)
    assert 0.35 < spoken / sum(lasts for _, lasts in spurts) < 0.43


def test_codecs_keep_their_clock():
    g711 = list(itertools.islice(packets("g711", Random(1)), 50))
    assert {size for _, size in g711} == {160} and abs(g711[-1][0] - 0.98) < 1e-9
    opus = list(itertools.takewhile(lambda packet: packet[0] < 60, packets("opus", Random(1))))
    assert 800 < len(opus) < 2200  # silence is not sent


def test_beacons_stay_within_their_jitter():
    draw = Random(5)
    assert all(7.5 <= behaviour.beacon(10, 0.25, draw) <= 10 for _ in range(1000))


def test_higher_rungs_weigh_more():
    means = [statistics.mean(behaviour.segment(Random(seed), rung, 4) for seed in range(50)) for rung in range(7)]
    assert means == sorted(means)
