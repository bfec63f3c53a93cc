"""The lab's links do what their profile says."""

from __future__ import annotations

import statistics

import pytest

from mmtt_model.lab import LabError
from mmtt_model.lab.links import Direction, profile_of, profiles


def _sent(values: dict, packets: int = 20_000, gap: float = 0.01, size: int = 1000) -> list[float | None]:
    link = Direction(profile_of("test", values), upwards=True, seed=7)
    return [due and due - number * gap for number in range(packets) for due in [link.send(number * gap, size)]]


def test_delay_is_what_was_asked_for():
    assert all(abs(delay - 0.035) < 1e-9 for delay in _sent({"delay": 35}, packets=100))


def test_rate_spaces_packets_and_a_full_queue_drops():
    link = Direction(profile_of("test", {"up": 8, "queue": 10.5}), upwards=True, seed=1)
    due = [link.send(0.0, 1000) for _ in range(100)]
    passed = [at for at in due if at is not None]
    # 1,000 bytes take 1 ms at 8 Mbit/s, so that a queue of 10.5 ms holds ten and the one being sent.
    assert passed == pytest.approx([0.001 * (number + 1) for number in range(11)])
    assert link.dropped == 89


def test_loss_comes_in_bursts_of_the_asked_mean_and_share():
    lost = [delay is None for delay in _sent({"loss": 0.05, "burst": 4}, packets=200_000)]
    bursts = sum(now and not before for before, now in zip([False, *lost[:-1]], lost, strict=True))
    assert sum(lost) / len(lost) == pytest.approx(0.05, rel=0.1)
    assert sum(lost) / bursts == pytest.approx(4, rel=0.1)


def test_jitter_is_heavy_tailed_and_keeps_order():
    link = Direction(profile_of("test", {"delay": 10, "jitter": 5, "tail": 1.4}), upwards=True, seed=3)
    due = [link.send(number * 1.0, 100) for number in range(5000)]
    extra = [at - number - 0.010 for number, at in enumerate(due)]
    assert due == sorted(due)
    assert statistics.median(extra) == pytest.approx(0.005, rel=0.1)
    assert sorted(extra)[4950] > 10 * statistics.median(extra)


def test_a_seed_repeats_what_a_link_does():
    values = {"delay": 5, "jitter": 2, "tail": 1, "loss": 0.01, "burst": 2}
    assert _sent(values, 500) == _sent(values, 500)


def test_the_profiles_asked_for_are_there():
    wanted = {"fibre", "cable", "dsl", "wifi", "lte_still", "lte_moving", "satellite", "transcontinental"}
    assert wanted < set(profiles())


def test_a_field_that_no_link_has_is_named():
    with pytest.raises(LabError, match="no such field 'lag'"):
        profile_of("mine", {"lag": 3})
