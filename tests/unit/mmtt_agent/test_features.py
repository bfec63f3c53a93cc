import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt_agent import features
from mmtt_agent.series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, SeriesBatch

_size = st.one_of(st.integers(1, 1500), st.integers(1, MAX_SIZE)).flatmap(lambda n: st.sampled_from([n, -n]))
_packet = st.tuples(_size, st.one_of(st.integers(0, 2000), st.integers(0, 2_000_000)))
_window = st.lists(_packet, min_size=1, max_size=MAX_PAYLOAD_PACKETS)


def _batch(windows):
    times = [np.minimum(np.cumsum([0, *[gap for _, gap in w[1:]]]), MAX_WAIT_US).tolist() for w in windows]
    return SeriesBatch.from_lists([[size for size, _ in w] for w in windows], times)


def _words(name, window):
    """The words of one statistic of one window, for comparing."""
    place = list(features._STATISTICS).index(name)
    word = features.model_input(_batch([window]))["statistics"][0, place]
    return int(word - features._FIRST_WORD[place])


@given(st.lists(_window, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_what_its_windows_are_one_by_one(windows):
    together = features.model_input(_batch(windows))
    assert tuple(together) == features.INPUT_NAMES
    for row, window in enumerate(windows):
        alone = features.model_input(_batch([window]))
        for name, array in together.items():
            assert array.dtype == alone[name].dtype
            np.testing.assert_array_equal(array[row], alone[name][0])


@given(_window)
@settings(max_examples=100, deadline=None)
def test_words_stay_within_their_vocabularies(window):
    arrays = features.model_input(_batch([window]))
    first, behind = features._FIRST_WORD[:-1], features._FIRST_WORD[1:]
    assert ((arrays["statistics"][0] >= first) & (arrays["statistics"][0] < behind)).all()
    for name, words in (("sizes", features.SIZE_WORDS), ("gaps", features.GAP_WORDS)):
        assert (arrays[name][0, : len(window)] > features.PAD).all() and (arrays[name] < words).all()
        assert (arrays[name][0, len(window) :] == features.PAD).all()
    assert arrays["picture"].shape == (1, *features.PICTURE_SHAPE)
    assert arrays["picture"].min() >= 0 and 0 < arrays["picture"].max() <= 1


def test_what_lies_past_a_windows_length_changes_nothing():
    batch = _batch([[(100, 0), (-1400, 50), (-1400, 3)], [(7, 0)]])
    dirty = SeriesBatch(batch.sizes.copy(), batch.times.copy(), batch.lengths)
    for row, length in enumerate(batch.lengths):
        dirty.sizes[row, length:] = -999
        dirty.times[row, length:] = 12_345_678
    for name, array in features.model_input(batch).items():
        np.testing.assert_array_equal(array, features.model_input(dirty)[name])


def test_a_window_of_nothing_and_no_window_at_all_have_a_shape():
    assert {name: len(array) for name, array in features.model_input(SeriesBatch.empty()).items()} == dict.fromkeys(
        features.INPUT_NAMES, 0
    )
    nothing = features.model_input(SeriesBatch.from_lists([[]], [[]]))
    assert (nothing["sizes"] == features.PAD).all() and nothing["picture"].sum() == 0


def test_numbers_beyond_the_contract_do_not_break_the_features():
    batch = SeriesBatch.from_lists([[10**6, -(10**6)]], [[0, 2**31 - 1]])
    arrays = features.model_input(batch)
    assert arrays["sizes"].max() < features.SIZE_WORDS and arrays["gaps"].max() < features.GAP_WORDS


def test_directions_are_told_apart():
    up, down = (features.model_input(_batch([[(s, 0), (s, 5)]])) for s in (500, -500))
    for name in ("statistics", "sizes", "picture"):
        assert (up[name] != down[name]).any()
    assert (up["gaps"] == down["gaps"]).all()


def test_the_picture_counts_each_packet_once():
    picture = features.model_input(_batch([[(100, 0)] + [(100, 0)] * 31]))["picture"][0]
    assert np.count_nonzero(picture) == 1 and picture.max() == pytest.approx(1.0)
    # Time runs down, the originator's sizes lie on the right.
    picture = features.model_input(_batch([[(100, 0), (-1460, 59_000_000)]]))["picture"][0]
    rows, columns = np.nonzero(picture)
    assert rows[0] == 0 and columns[0] >= 16
    assert rows[1] >= 30 and columns[1] == 0


@pytest.mark.parametrize(
    ("name", "window", "value"),
    [
        ("packets from originator", [(5, 0), (-5, 0), (5, 0)], 2),
        ("packets from responder", [(5, 0), (-5, 0), (5, 0)], 1),
        ("bursts", [(5, 0), (6, 0), (-5, 0), (5, 0)], 3),
        ("longest burst in packets", [(5, 0), (6, 0), (7, 0), (-5, 0)], 3),
        ("different sizes", [(5, 0), (-5, 0), (6, 0)], 2),
        ("originator's share of bytes", [(300, 0), (-100, 0)], 24),
        ("largest gap's share of the duration", [(1, 0), (1, 100), (1, 300)], 24),
    ],
)
def test_statistics_say_what_their_names_do(name, window, value):
    assert _words(name, window) == value


def test_a_window_cut_from_the_middle_of_a_flow_is_read_like_a_flow_of_its_own():
    flow = [(200 + 7 * i if i % 3 else -1200, 1000 * i) for i in range(30)]
    middle = flow[10:20]
    shifted = _batch([[(middle[0][0], 0), *middle[1:]]])
    assert (features.model_input(shifted)["gaps"][0, 0]) == 1
    np.testing.assert_array_equal(
        features.model_input(_batch([flow]))["sizes"][0, 10:20],
        features.model_input(shifted)["sizes"][0, :10],
    )
    np.testing.assert_array_equal(
        features.model_input(_batch([flow]))["gaps"][0, 11:20], features.model_input(shifted)["gaps"][0, 1:10]
    )


def test_a_window_without_its_first_packets_is_as_if_the_capture_had_begun_later():
    batch = SeriesBatch.from_lists([[10, -20, 30, -40], [5, 6]], [[0, 100, 250, 400], [0, 9]])
    later = batch.without_first(2)
    assert (later.lengths == [2, 0]).all() and later.sizes.shape == batch.sizes.shape
    assert later.sizes[0, :3].tolist() == [30, -40, 0] and later.times[0, :3].tolist() == [0, 150, 0]
    assert not later.sizes[1].any() and not later.times[1].any()


def test_what_comes_of_times_that_are_not_known_is_said_to_be_unknown():
    windows = _batch([[(100, 0), (-1400, 50), (-1400, 3)], [(7, 0), (8, 9)]])
    known, shown = features.model_input(windows), features.model_input(windows, np.array([True, False]))
    for name, array in known.items():
        assert shown[name].dtype == array.dtype
        np.testing.assert_array_equal(shown[name][0], array[0])
    assert shown["gaps"][1].tolist() == [features.GAP_UNKNOWN] * 2 + [features.PAD] * 30
    assert not shown["picture"][1].any()
    np.testing.assert_array_equal(shown["sizes"][1], known["sizes"][1])
    of_times = [name == "duration" or "gap" in name for name in features._STATISTICS]
    last = features._FIRST_WORD[1:] - 1
    assert (shown["statistics"][1] == np.where(of_times, last, known["statistics"][1])).all() and any(of_times)
    assert not (known["statistics"][:, of_times] == last[of_times]).any(), "a word that no time has"


def test_times_that_are_not_known_do_not_matter():
    sizes, untimed = [[100, -200, 300, -400]], np.zeros(1, bool)
    one, other = (SeriesBatch.from_lists(sizes, [times]) for times in ([0, 0, 0, 0], [0, 5, 10**6, 10**7]))
    for name, array in features.model_input(one, untimed).items():
        np.testing.assert_array_equal(array, features.model_input(other, untimed)[name])


def test_unknown_words_are_a_scale_of_their_own():
    """Neighbours on a scale share what is learnt; what is not known is no neighbour of the longest."""
    assert sum(features.GAP_SCALES) == features.GAP_WORDS and features.GAP_SCALES[-1] == 1
    assert sum(features.STATISTIC_SCALES) == features.STATISTIC_WORDS
    assert features.STATISTIC_SCALES.count(1) == features._OF_TIMES.sum()
