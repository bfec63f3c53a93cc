import csv
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard

from mmtt_agent.series import SeriesBatch
from mmtt_model.data import dataset as ds
from mmtt_model.data.labels import FlowName, Labels, Taxonomy
from mmtt_model.data.sources import Entry, table


class _Connections:
    orig_h = np.zeros((1, 16), np.uint8)
    resp_h = np.ones((1, 16), np.uint8)
    orig_p, resp_p, proto = [1000], [443], [6]


class _Windows:
    connection = (0,)
    window = (0,)
    ts = (10_000_000,)
    series = SeriesBatch.from_lists([[1, 2, 3, 4]], [[0, 1, 2, 500_000]])


@pytest.mark.parametrize(
    ("flows", "expected"),
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
    found = table._name_of(names, _Connections, _Windows, 0)
    assert (found.name if found else None) == expected


def _write(directory, captures, flows):
    directory.mkdir(exist_ok=True)
    with (directory / "captures.tsv").open("w") as file:
        writer = csv.DictWriter(file, table.CAPTURE_COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(captures)
    text = io.StringIO()
    writer = csv.DictWriter(text, table.FLOW_COLUMNS, delimiter="\t")
    writer.writeheader()
    writer.writerows(flows)
    (directory / "flows.tsv.zst").write_bytes(zstandard.compress(text.getvalue().encode()))


def test_a_directory_without_data_gives_one_line(tmp_path):
    with pytest.raises(ds.DatasetError, match=r"captures\.tsv: No such file.*--data must name"):
        ds.load_or_build(tmp_path, tmp_path / "cache.npz", ds.Selection(), print)


def test_damaged_tables_give_one_line(tmp_path):
    _write(tmp_path, [dict.fromkeys(table.CAPTURE_COLUMNS, "x")], [])
    (tmp_path / "flows.tsv.zst").write_bytes(b"not zstd")
    with pytest.raises(ds.DatasetError, match=r"flows\.tsv\.zst: damaged"):
        ds.load_or_build(tmp_path, tmp_path / "cache.npz", ds.Selection(), print)
    (tmp_path / "captures.tsv").write_text("capture\tgroup\n")
    with pytest.raises(ds.DatasetError, match="no column 'service'"):
        ds.load_or_build(tmp_path, tmp_path / "cache.npz", ds.Selection(), print)


def _dataset(n=40):
    rng = np.random.default_rng(0)
    series = SeriesBatch.from_lists(
        rng.integers(1, 1400, (n, 4)).tolist(), np.cumsum(rng.integers(0, 99, (n, 4)), 1).tolist()
    )
    labels = np.arange(n) % 2
    return ds.Dataset(
        series, np.zeros(n, np.uint8), labels, labels.copy(), labels.copy(), np.arange(n) // 4,
        np.arange(n) // 4, np.arange(n) // 4 % 3, ["web", "chat"], {"A": ["web"], "B": ["chat"]},
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


def test_a_flow_that_is_in_several_captures_is_kept_once_and_its_captures_stay_together():
    """Two captures share a flow; a third shares one with the second. Labels that contradict each other are none."""
    shared, other = ([100, -200, 300, -400], [0, 10, 20, 35]), ([70, -80, 90, -100], [0, 5, 6, 7])
    flows = [[shared], [shared, other], [other]] + [[([c, -c, c, -c], [0, 1, 2, 3])] for c in range(10, 40)]
    marks = [[True], [False, True], [None]] + [[c % 2 == 0] for c in range(30)]
    parts = []
    for index, (windows, malicious) in enumerate(zip(flows, marks, strict=True)):
        labels = [Labels("web" if index % 2 else "chat", None, mark) for mark in malicious]
        series = SeriesBatch.from_lists(*(list(each) for each in zip(*windows, strict=True)))
        parts.append((index, series, np.zeros(len(windows), np.uint8), labels))
    captures = [Entry(f"c{i}", Path(f"c{i}"), "repo") for i in range(len(flows))]
    made = ds._assemble(captures, parts, ds.Selection(min_captures=3), Taxonomy())
    assert made.report["copies"] == 2 and made.report["copied_captures"] == 2
    assert len(made) == 31 and [100, -200, 300, -400] not in made.series.sizes[:, :4].tolist(), "nothing is agreed on"
    assert (made.capture[0], made.recording[0], made.malicious[0]) == (1, 0, 1), "labelled in one capture only"
    assert made.service[0] == ds.MISSING, "called chat in one capture, web in the other"
