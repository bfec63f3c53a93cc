"""The compared networks: shapes, what they must not depend on, and that they learn what is easy."""

from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_agent.series import SeriesBatch
from mmtt_model import systems
from mmtt_model.config import Config, Training
from mmtt_model.data.labels import MISSING
from mmtt_model.network.infer import infer
from mmtt_model.training import train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", systems.NETWORKS)
def test_windows_in_four_answers_out(name):
    network = systems.NETWORKS[name](5, 7, 3).eval()
    series = SeriesBatch.from_lists(
        [[100, -200, 300, -400], [1460] * 32], [[0, 10, 20, 30], list(range(0, 32_000_000, 1_000_000))]
    )
    answers = network(*network.inputs(series))
    assert [answer.shape for answer in answers] == [(2, 5), (2, 7), (2,), (2, 3)]
    assert all(torch.isfinite(answer).all() for answer in answers)


@pytest.mark.parametrize("name", systems.NETWORKS)
def test_they_learn_to_tell_small_packets_from_large_ones(name, tmp_path):
    made = synthetic()
    config = Config(training=Training(epochs=12, windows=160, batch=32, learning_rate=0.003, average=0.9))
    network, _ = train.fit(config, systems.NETWORKS[name], made, tmp_path / "checkpoint.safetensors", lambda _: None)
    test = made.rows("test")
    answers = infer(network, made.series[test])["service"].argmax(1)
    assert (answers == made.service[test]).mean() > 0.9
    # What is trained in a process of its own comes back from there.
    ForkingPickler.dumps(network)


def test_mm_cesnet_v2_is_as_large_as_published():
    network = systems.MMCesnetV2(102, 2, 1)
    trunk = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.heads.parameters())
    # 2,261,653 with its classifier of 102 classes over 600 features, and two more statistics than a window has.
    assert abs(trunk + 600 * 102 + 102 - 2_261_653) < 5_000


def test_the_flowpic_counts_packets_by_size_and_time():
    (picture,) = systems.MiniFlowPic.inputs(
        SeriesBatch.from_lists([[0 + 40, -40, 1499, 1499]], [[0, 0, 14_999_999, 20_000_000]])
    )
    assert picture.shape == (1, 1, 32, 32)
    # Two small ones at once, the fullest cell; one large one at the end; the last is too late.
    assert picture[0, 0, 0, 0] == 1 and picture[0, 0, 31, 31] == 0.5 and np.count_nonzero(picture) == 2


def test_trees_learn_also_where_no_site_is_kept_to_choose_how_many():
    pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install 'mmtt[train]'")
    made = synthetic()
    train, test = made.rows("train"), made.rows("test")
    for validation in (made.rows("validation"), np.zeros(0, int)):
        logits = systems.boosted_trees(made, train, validation, test, ("service", "malicious"))
        assert (logits["service"].argmax(1) == made.service[test]).mean() > 0.9
        assert ((logits["malicious"] > 0) == (made.malicious[test] == 1)).mean() > 0.9
    made.service[train] = MISSING
    assert not systems.boosted_trees(made, train, validation, test, ("service",))["service"].any()


def test_trees_are_not_told_gaps_that_are_not_known():
    points = systems.raw_points(SeriesBatch.from_lists([[1, 2, 3, 4]] * 2, [[0, 5, 6, 7]] * 2), np.array([True, False]))
    assert points[0, 32:36].tolist() == [0, 5, 1, 1] and np.isnan(points[1, 32:]).all()
    assert points[1, :4].tolist() == [1, 2, 3, 4]
