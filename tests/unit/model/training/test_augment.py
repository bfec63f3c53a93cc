import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_agent.series import MAX_WAIT_US, MIN_PACKETS, SeriesBatch
from mmtt_model.training.augment import _other_mtu, augment


def test_another_mtu_cuts_what_was_sent_into_other_packets():
    asked = [[200, *[-1448] * 6, -700, 90, -300], [50, -60, 70, -80]]
    batch = SeriesBatch.from_lists(asked * 200, [list(range(0, 100, 10)), [0, 1, 2, 3]] * 200)
    changed = _other_mtu(batch, np.ones(400, bool), np.random.default_rng(1))
    assert (changed.sizes[1::2] == batch.sizes[1::2]).all(), "nothing is full in these"
    for row in range(0, 400, 2):
        sizes = changed.sizes[row, : changed.lengths[row]].tolist()
        answer = sizes[1 : sizes.index(90)]
        assert sizes[0] == 200 and sizes[-2:] == [90, -300] and sum(answer) == -(6 * 1448 + 700)
        assert len(set(answer[:-1])) == 1 and 1180 <= -answer[0] <= 1460
        assert (np.diff(changed.times[row, : changed.lengths[row]]) >= 0).all()
    assert len({int(length) for length in changed.lengths[::2]}) > 1


def test_augmentation_keeps_what_a_window_is():
    batch = synthetic().series
    changed = augment(batch, 1.0, np.random.default_rng(1))
    filled = np.arange(32) < changed.lengths[:, None]
    assert (changed.lengths >= MIN_PACKETS).all()
    assert (changed.lengths <= batch.lengths).all()
    assert ((changed.sizes != 0) == filled).all() and (changed.times[~filled] == 0).all()
    assert (changed.times[:, 0] == 0).all() and changed.times.max() <= MAX_WAIT_US
    steps = np.diff(changed.times, axis=1)
    assert (steps[filled[:, 1:]] >= 0).all()
    assert (np.sign(changed.sizes[:, 0]) == np.sign(batch.sizes[:, 0])).all()
    assert (changed.times != batch.times).any() and (changed.lengths != batch.lengths).any()
    same = augment(batch, 0.0, np.random.default_rng(1))
    np.testing.assert_array_equal(same.sizes, batch.sizes)
    np.testing.assert_array_equal(same.times, batch.times)
