"""Windows as they would be if the client said no server's name."""

import numpy as np

from mmtt_agent.learn.nameless import without_name
from mmtt_agent.series import SeriesBatch

NAME = len("erp.intra.example.org")


def shortened(sizes: list[int], length: int = NAME) -> list[int]:
    series = SeriesBatch.from_lists([sizes], [[*range(len(sizes))]])
    before = series.sizes.copy()
    found = without_name(series, np.array([length]))
    assert (series.sizes == before).all() and (found.lengths == series.lengths).all()
    assert (found.times == series.times).all()
    return found.sizes[0, : len(sizes)].tolist()


def test_the_hello_is_shorter_by_the_name_and_its_extension():
    assert shortened([300, -1400, -900, 80]) == [300 - NAME - 9, -1400, -900, 80]


def test_of_a_hello_in_two_packets_the_latter_is():
    assert shortened([1400, 350, -1400, 80]) == [1400, 350 - NAME - 9, -1400, 80]
    assert shortened([300, 200, 200, 200]) == [300, 200, 200, 200 - NAME - 9], "no answer was seen"


def test_what_is_no_hello_with_a_name_stays():
    assert shortened([300, -1400, 80, 80], length=0) == [300, -1400, 80, 80]
    assert shortened([-1400, 300, 80, 80]) == [-1400, 300, 80, 80], "the responder began"
    assert shortened([1400, 20, -1400, 80]) == [1400, 20, -1400, 80], "no more than the name"
    assert shortened([517, -1400, 80, 80]) == [517, -1400, 80, 80], "padded"


def test_each_by_its_own():
    series = SeriesBatch.from_lists([[300, -9]] * 3, [[0, 1]] * 3)
    assert without_name(series, np.array([5, 0, 20])).sizes[:, 0].tolist() == [286, 300, 271]
    assert len(without_name(SeriesBatch.empty(), np.zeros(0, np.int64))) == 0
