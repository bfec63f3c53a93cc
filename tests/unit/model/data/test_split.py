from types import MappingProxyType

import numpy as np
import pytest

from mmtt_agent.series import SeriesBatch
from mmtt_model.data.labels import MISSING
from mmtt_model.data.split import SPLITS, equal_windows, frozen_sites, recordings, seen_before, split_groups


def _split(labels_by_site, seed=1, windows=5, frozen=MappingProxyType({})):
    """Splits of sites, given the service labels that each holds."""
    site = np.repeat(np.arange(len(labels_by_site)), windows)
    service = np.array([labels[i % len(labels)] for labels in labels_by_site for i in range(windows)])
    nothing = np.full(len(site), MISSING)
    names = [f"site{i}" for i in range(len(labels_by_site))]
    split = split_groups(site, [service, nothing], names, (0.7, 0.1, 0.2), seed, frozen)
    return site, split


def test_no_site_is_in_two_splits():
    site, split = _split([[i % 3, (i * 7) % 5] for i in range(100)])
    assert all(len(set(split[site == s])) == 1 for s in range(100))


def test_sites_that_are_written_down_stay_where_they_are_and_the_others_make_up_for_it():
    frozen = {f"site{i}": "test" for i in range(20)} | {"site50": "validation", "of no window": "train"}
    _, split = _split([[i % 4] for i in range(100)], frozen=frozen)
    per_site = split[::5]
    assert (per_site[:20] == SPLITS.index("test")).all() and per_site[50] == SPLITS.index("validation")
    assert np.bincount(per_site) == pytest.approx([70, 10, 20], abs=1)


def test_the_shipped_list_names_a_split_for_each_site():
    shipped = frozen_sites()
    assert set(shipped.values()) == set(SPLITS) and len(shipped) > 100


def test_groups_without_a_label_are_shared_out_too():
    _, split = _split([[0]] * 50 + [[MISSING]] * 50)
    assert np.bincount(split[::5]).tolist() == [70, 10, 20]


def test_splits_are_of_the_sizes_asked_for_and_hold_every_label():
    _, split = _split([[0] if i < 80 else [1] for i in range(100)])
    per_site = split[::5]
    assert np.bincount(per_site).tolist() == [70, 10, 20]
    assert np.bincount(per_site[80:], minlength=3).tolist() == [14, 2, 4]


def test_a_split_is_frozen_by_its_seed():
    labels = [[i % 4] for i in range(60)]
    assert (_split(labels, 1)[1] == _split(labels, 1)[1]).all()
    assert (_split(labels, 1)[1] != _split(labels, 2)[1]).any()


def test_a_label_of_few_sites_is_still_held_out():
    _, split = _split([[0]] * 50 + [[1]] * 6)
    assert set(split[::5][50:].tolist()) == {0, 1, 2}


def test_captures_that_share_a_window_are_one_recording():
    rows = [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4], [9, 9, 9, 9], [5, 6, 7, 8], [3, 3, 3, 3]]
    series = SeriesBatch.from_lists(rows, [[0, 1, 2, 3]] * 6)
    same = equal_windows(series, np.ones(6, bool))
    assert same == [[0, 2], [1, 4], [3], [5]]
    # 7 shares a window with 4, and 4 another with 2.
    assert recordings(same, np.array([7, 4, 4, 4, 2, 5])).tolist() == [2, 2, 2, 2, 2, 5]


def test_windows_whose_times_are_not_known_are_copies_of_each_other_and_of_no_others():
    series = SeriesBatch.from_lists([[1, 2, 3, 4]] * 4, [[0] * 4] * 4)
    assert equal_windows(series, np.array([True, False, False, True])) == [[0, 3], [1, 2]]


def test_what_was_seen_in_training_is_told():
    training = SeriesBatch.from_lists([[1, 2, 3, 4]], [[0, 1, 2, 3]])
    tested = SeriesBatch.from_lists([[1, 2, 3, 4]] * 2 + [[4, 4, 4, 4]] * 2, [[0, 1, 2, 3], [0, 9, 9, 9]] * 2)
    assert seen_before(tested, training) == {"sizes and times": 0.25, "sizes": 0.5}
