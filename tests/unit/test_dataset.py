import csv
import io

import numpy as np
import pytest
import zstandard

from mmtt_agent.series import SeriesBatch
from mmtt_model import dataset as ds
from mmtt_model.labels import FlowName, Taxonomy


def _split(labels_by_capture, seed=1, windows=5):
    """Splits of captures, given the service labels that each holds."""
    capture = np.repeat(np.arange(len(labels_by_capture)), windows)
    service = np.array([labels[i % len(labels)] for labels in labels_by_capture for i in range(windows)])
    nothing = np.full(len(capture), ds.MISSING)
    names = [f"capture{i}" for i in range(len(labels_by_capture))]
    split = ds.split_captures(capture, [service, nothing], names, ds.Selection(split_seed=seed))
    return capture, split


def test_no_capture_is_in_two_splits():
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


class _Connections:
    orig_h = np.zeros((1, 16), np.uint8)
    resp_h = np.ones((1, 16), np.uint8)
    orig_p, resp_p, proto = [1000], [443], [6]


class _Windows:
    connection = [0]
    window = [0]
    ts = [10_000_000]
    series = SeriesBatch.from_lists([[1, 2, 3, 4]], [[0, 1, 2, 500_000]])


@pytest.mark.parametrize(
    "flows, expected",
    [
        ([(9_000_000, 9_500_000, "before"), (9_900_000, 20_000_000, "around")], "around"),
        ([(10_300_000, 20_000_000, "overlaps the end")], "overlaps the end"),
        ([(10_501_000, 20_000_000, "a millisecond late")], "a millisecond late"),
        ([(30_000_000, 40_000_000, "port reused")], None),
        ([], None),
    ],
)
def test_a_window_is_joined_to_the_flow_of_its_time(flows, expected):
    ends = sorted(((bytes(16), 1000), (b"\1" * 16, 443)))
    names = {(6, *ends): [(first, last, FlowName(name, "Web", False)) for first, last, name in flows]}
    found = ds._name_of(names, _Connections, _Windows, 0)
    assert (found.name if found else None) == expected


def _write(directory, captures, flows):
    directory.mkdir(exist_ok=True)
    with (directory / "captures.tsv").open("w") as file:
        writer = csv.DictWriter(file, ds._CAPTURE_COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(captures)
    text = io.StringIO()
    writer = csv.DictWriter(text, ds._FLOW_COLUMNS, delimiter="\t")
    writer.writeheader()
    writer.writerows(flows)
    (directory / "flows.tsv.zst").write_bytes(zstandard.compress(text.getvalue().encode()))


def test_a_directory_without_data_gives_one_line(tmp_path):
    with pytest.raises(ds.DatasetError, match=r"captures\.tsv: No such file.*--data must name"):
        ds.load_or_build(tmp_path, tmp_path / "cache.npz", ds.Selection(), print)


def test_damaged_tables_give_one_line(tmp_path):
    _write(tmp_path, [dict.fromkeys(ds._CAPTURE_COLUMNS, "x")], [])
    (tmp_path / "flows.tsv.zst").write_bytes(b"not zstd")
    with pytest.raises(ds.DatasetError, match=r"flows\.tsv\.zst: damaged"):
        ds.build(tmp_path, ds.Selection(), Taxonomy(), print)
    (tmp_path / "captures.tsv").write_text("capture\tgroup\n")
    with pytest.raises(ds.DatasetError, match="no column 'service'"):
        ds.build(tmp_path, ds.Selection(), Taxonomy(), print)


def _dataset(n=40):
    rng = np.random.default_rng(0)
    series = SeriesBatch.from_lists(
        rng.integers(1, 1400, (n, 4)).tolist(), np.cumsum(rng.integers(0, 99, (n, 4)), 1).tolist()
    )
    labels = np.arange(n) % 2
    return ds.Dataset(
        series, np.zeros(n, np.uint8), labels, labels.copy(), labels.copy(), np.arange(n) // 4,
        np.arange(n) // 4 % 3, ["web", "chat"], {"A": ["web"], "B": ["chat"]},
        [f"c{i}" for i in range(n // 4)], ["repo"] * (n // 4),
        {"counts": {"windows": n}, "unreadable": [], "dropped_services": {}, "dropped_applications": {"C": 1}},
    )  # fmt: skip


def test_a_cached_data_set_comes_back_whole_and_only_for_the_same_key(tmp_path):
    made, path = _dataset(), tmp_path / "dataset.npz"
    made.save(path, "key")
    back = ds.Dataset.load(path, "key")
    np.testing.assert_array_equal(back.series.sizes, made.series.sizes)
    np.testing.assert_array_equal(back.split, made.split)
    assert (back.services, back.applications, back.report) == (made.services, made.applications, made.report)
    assert ds.Dataset.load(path, "another key") is None
    path.write_bytes(b"damaged")
    assert ds.Dataset.load(path, "key") is None


def test_duplicates_across_splits_are_counted():
    made = _dataset()
    assert ds.duplicates(made) == {"validation": 0, "test": 0}
    made.series.sizes[made.rows("test")[0]] = made.series.sizes[made.rows("train")[0]]
    made.series.times[made.rows("test")[0]] = made.series.times[made.rows("train")[0]]
    assert ds.duplicates(made)["test"] == pytest.approx(1 / len(made.rows("test")))
