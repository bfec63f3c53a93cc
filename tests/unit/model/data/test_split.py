import numpy as np

from mmtt_agent.series import SeriesBatch
from mmtt_model.data.labels import MISSING
from mmtt_model.data.split import equal_windows, recordings, seen_before, split_recordings


def _split(labels_by_capture, seed=1, windows=5):
    """Splits of captures, given the service labels that each holds."""
    capture = np.repeat(np.arange(len(labels_by_capture)), windows)
    service = np.array([labels[i % len(labels)] for labels in labels_by_capture for i in range(windows)])
    nothing = np.full(len(capture), MISSING)
    names = [f"capture{i}" for i in range(len(labels_by_capture))]
    split = split_recordings(capture, [service, nothing], names, (0.7, 0.1, 0.2), seed)
    return capture, split


def test_no_recording_is_in_two_splits():
    capture, split = _split([[i % 3, (i * 7) % 5] for i in range(100)])
    assert all(len(set(split[capture == c])) == 1 for c in range(100))


def test_splits_are_of_the_sizes_asked_for_and_hold_every_label():
    _, split = _split([[0] if i < 80 else [1] for i in range(100)])
    per_capture = split[::5]
    assert np.bincount(per_capture).tolist() == [70, 10, 20]
    assert np.bincount(per_capture[80:], minlength=3).tolist() == [14, 2, 4]


def test_a_split_is_frozen_by_its_seed():
    labels = [[i % 4] for i in range(60)]
    assert (_split(labels, 1)[1] == _split(labels, 1)[1]).all()
    assert (_split(labels, 1)[1] != _split(labels, 2)[1]).any()


def test_a_label_in_few_captures_is_still_held_out():
    _, split = _split([[0]] * 50 + [[1]] * 6)
    assert set(split[::5][50:].tolist()) == {0, 1, 2}


def test_captures_that_share_a_window_are_one_recording():
    rows = [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4], [9, 9, 9, 9], [5, 6, 7, 8], [3, 3, 3, 3]]
    series = SeriesBatch.from_lists(rows, [[0, 1, 2, 3]] * 6)
    same = equal_windows(series)
    assert same == [[0, 2], [1, 4], [3], [5]]
    # 7 shares a window with 4, and 4 another with 2.
    assert recordings(same, np.array([7, 4, 4, 4, 2, 5])).tolist() == [2, 2, 2, 2, 2, 5]


def test_what_was_seen_in_training_is_told():
    training = SeriesBatch.from_lists([[1, 2, 3, 4]], [[0, 1, 2, 3]])
    tested = SeriesBatch.from_lists([[1, 2, 3, 4]] * 2 + [[4, 4, 4, 4]] * 2, [[0, 1, 2, 3], [0, 9, 9, 9]] * 2)
    assert seen_before(tested, training) == {"sizes and times": 0.25, "sizes": 0.5}
