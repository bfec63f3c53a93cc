import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import zstandard
from synthetic import synthetic

from mmtt_agent.series import SeriesBatch
from mmtt_model.data import dataset as ds
from mmtt_model.data.labels import FlowName, Labels
from mmtt_model.data.rows import CaptureRows
from mmtt_model.data.sources import Entry, table
from mmtt_model.data.taxonomy import Taxonomy


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


def test_encrypted_flows_without_a_name_have_those_that_go_to_the_same_server(tmp_path):
    def row(name, group="benign", malicious="0", repository="lab"):
        return {"capture": name, "group": group, "service": "voip", "application": "Skype", "malicious": malicious,
                "source_repo": repository}  # fmt: skip

    def flow(name, ndpi, sni="", port=443, server="8.8.8.8", own=50000, proto=6):
        return {"capture": name, "first_seen_ms": 1, "last_seen_ms": 2, "proto": proto, "src_ip": "10.0.0.1",
                "src_port": own, "dst_ip": server, "dst_port": port, "ndpi_app": ndpi, "ndpi_category": "Web",
                "ndpi_guessed": 0, "sni": sni}  # fmt: skip

    _write(
        tmp_path,
        [row("a"), row("b"), row("other", repository="elsewhere"), row("attack", "malicious", "1"),
         row("mixed", "mixed", "mixed")],
        [
            flow("a", "TLS", "chat.example"), flow("a", "QUIC", "www.example", server="2001:4860:4860::8888"),
            flow("a", "DNS", "asked.example", 53), flow("a", "TLS", "within.example", server="192.168.0.1"),
            flow("attack", "TLS", "c2.example"), flow("mixed", "TLS", "any.example"),
            flow("a", "TLS", "more.example", 8443), flow("b", "DNS", port=53, own=50004),
            *(flow(capture, "TLS", own=50001) for capture in ("a", "b", "other", "attack", "mixed")),
            flow("b", "QUIC", own=50002, proto=17), flow("b", "Unknown", own=50003),
            flow("b", "TLS", server="192.168.0.1", own=50005), flow("b", "TLS", "own.example", own=50006),
            flow("b", "QUIC", server="2001:4860:4860::8888", own=50007), flow("b", "TLS", port=40000, own=50008),
        ],
    )  # fmt: skip
    found = {
        (capture, name.ports[0]): name.others
        for capture, flows in table.TableSource(tmp_path, Taxonomy())._names.items()
        for same in flows.values()
        for _, _, name in same
        if name.others
    }
    chat = ("chat.example", "own.example")
    assert found == {
        ("a", 50001): chat, ("b", 50001): chat, ("b", 50002): chat, ("b", 50007): ("www.example",),
    }  # fmt: skip


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


def test_a_flow_with_a_bad_value_is_named_by_its_line(tmp_path):
    flow = dict.fromkeys(table.FLOW_COLUMNS, "1") | {"src_ip": "10.0.0.1", "dst_ip": "10.0.0.2"}
    for wrong, says in (
        ({"src_port": "https"}, "invalid literal.*'https'"),
        ({"dst_ip": "10.0.0"}, "'10.0.0' does not"),
    ):
        _write(tmp_path, [dict.fromkeys(table.CAPTURE_COLUMNS, "x")], [flow, flow | wrong])
        with pytest.raises(ds.DatasetError, match=rf"flows\.tsv\.zst: line 3: {says}.*; fetch it again"):
            ds.load_or_build(tmp_path, tmp_path / "cache.npz", ds.Selection(), print)


def test_a_cached_data_set_comes_back_whole_and_only_for_the_same_key(tmp_path):
    made, path = synthetic(), tmp_path / "dataset.npz"
    made.unlabelled, made.unlabelled_timed = made.series[:3], np.array([True, False, True])
    made.save(path, "key")
    back = ds.Dataset.load(path, "key")
    for field in dataclasses.fields(made):
        one, other = getattr(made, field.name), getattr(back, field.name)
        if isinstance(one, SeriesBatch):
            assert all((getattr(one, name) == getattr(other, name)).all() for name in ("sizes", "times", "lengths"))
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, strict=True)
        else:
            assert one == other, field.name
    assert back.digest() == made.digest()
    assert ds.Dataset.load(path, "another key") is None
    for damaged in (b"damaged", path.read_bytes()[:-100]):
        path.write_bytes(damaged)
        assert ds.Dataset.load(path, "key") is None


def test_scores_count_only_so_much_of_a_capture_and_training_all():
    made = synthetic()
    made.scored[::2] = False
    assert len(made.rows("train")) == (made.split == 0).sum()
    assert len(made.rows("test")) == (made.split == 2).sum() / 2 and made.scored[made.rows("test")].all()


def _rows(name, site, windows, labels, timed=True, labelled=True):
    """A capture's rows; ``windows`` are sizes and times."""
    n = len(windows)
    series = SeriesBatch.from_lists(*(list(each) for each in zip(*windows, strict=True)))
    return CaptureRows(Entry(name, Path(name), site, labelled, site=site), series, np.zeros(n, np.uint8),
                       np.full(n, timed), labels, {})  # fmt: skip


def _choose(captures, **selection):
    return ds.choose(captures, ds.Selection(**selection), Taxonomy(), Path("here"), lambda _: None)


def _window(number, *, at=0):
    return [100 + number % 1000, -50, 60 + number // 1000, -70], [0, 1, 2, 3 + at]


def _sites(many, captures=3):
    """Captures of so many sites, each with two windows of its own."""
    return [
        _rows(f"site{site}/{each}", f"site{site}", [_window(10 * site + each), _window(10 * site + each, at=9)],
              [Labels("web" if site % 2 else "chat", None, False, None, "name")] * 2)
        for site in range(many)
        for each in range(captures)
    ]  # fmt: skip


def test_no_site_is_on_two_sides():
    made = _choose(_sites(30))
    assert made.report["split_by"] == "site" and set(made.split) == {0, 1, 2}
    assert all(len(set(made.split[made.site == site])) == 1 for site in set(made.site))
    assert [made.sites[site] for site in made.site[:2]] == ["site0", "site0"]


def test_copies_at_several_sites_are_kept_once_and_whole_captures_of_them_are_on_one_side():
    captures = _sites(30)
    # A capture at site 29 begins with a copy of a window of site 0, and has one more.
    copy = _rows("copy", "site29", [_window(0), _window(5000)], [Labels("chat", None, False)] * 2)
    made = _choose([*captures, copy])
    assert made.report["copies"] == 1 and made.report["copied_captures"] == 1
    rows = made.recording == 0
    assert rows.sum() == 3 and {made.sites[site] for site in made.site[rows]} == {"site0"}
    assert len(set(made.split[made.site == 0])) == 1


def test_sites_written_down_are_where_the_list_has_them(monkeypatch):
    monkeypatch.setattr(ds, "frozen_sites", lambda: {"site3": "test", "site4": "validation", "site5": "train"})
    made = _choose(_sites(12))
    by_name = {made.sites[site]: split for site, split in zip(made.site, made.split, strict=True)}
    assert [by_name[f"site{each}"] for each in (3, 4, 5)] == [2, 1, 0]


def test_of_few_sites_recordings_are_shared_out():
    made = _choose(_sites(4, captures=20))
    assert made.report["split_by"] == "recording" and set(made.split) == {0, 1, 2}
    assert all(len(set(made.split[made.recording == each])) == 1 for each in set(made.recording))


def test_what_is_of_fewer_sites_than_asked_for_is_not_learnt():
    captures = _sites(20)
    for each in captures[:6]:  # two sites, many windows
        each.labels = [Labels("gaming", "Steam", False)] * 2
    made = _choose(captures, min_sites=3)
    assert "gaming" not in made.services and not made.applications
    assert made.report["dropped_services"]["gaming"] == made.report["dropped_applications"]["Steam"] == 2
    assert (made.service[made.site < 2] == ds.MISSING).all() and (made.malicious == 0).all()
    assert "gaming" in _choose(captures, min_sites=2).services


def test_a_capture_lends_no_more_than_told_to_training_and_less_to_scores():
    scan = _rows(
        "scan", "lab", [_window(7000 + each) for each in range(50)], [Labels(malicious=True, kind="scan")] * 50
    )
    made = _choose([*_sites(20), scan], max_windows=30, max_scored=4)
    rows = made.capture == 60
    assert rows.sum() == 30 and made.scored[rows].sum() == 4 and made.scored[~rows].all()
    assert made.kinds[made.malicious_kind[rows][0]] == "scan" and (made.malicious_kind[~rows] == ds.MISSING).all()


def test_alike_is_what_has_the_same_answers_whatever_they_come_from():
    labels = [Labels("web", service_by=("name", "capture")[each % 2], transport=each % 4) for each in range(40)]
    made = _choose(
        [*_sites(20), _rows("browsing", "lab", [_window(8000 + each) for each in range(40)], labels)],
        max_windows=30, max_scored=4,
    )  # fmt: skip
    rows = made.capture == 60
    assert rows.sum() == 30 and made.scored[rows].sum() == 4


def test_windows_without_times_are_trained_on_and_not_scored():
    """A sensor never sends such."""
    untimed = [
        _rows(f"series/{each}", f"site{each}", [([9, 9, 9, 9 + each], [0] * 4)], [Labels("iot")], timed=False)
        for each in range(20)
    ]
    made = _choose([*_sites(20), *untimed])
    assert (~made.timed).sum() == 20 and not made.scored[~made.timed].any() and made.scored[made.timed].all()
    assert not set(made.rows("test")) & set(np.flatnonzero(~made.timed))
    assert set(made.rows("train")) & set(np.flatnonzero(~made.timed))


def test_windows_without_times_take_no_place_in_scores():
    windows, labels = [_window(9000 + each) for each in range(60)], [Labels("web")] * 60
    mixed = _rows("series/mixed", "lab", windows, labels)
    mixed.timed[10:] = False
    made = _choose([*_sites(20), mixed], max_scored=8)
    rows = made.capture == 60
    assert (made.timed & rows).sum() == 10 and made.scored[rows].sum() == 8


def test_a_flow_that_is_in_several_captures_is_kept_once_and_its_captures_stay_together():
    """Two captures share a flow; a third shares one with the second. Labels that contradict each other are none."""
    shared, other = ([100, -200, 300, -400], [0, 10, 20, 35]), ([70, -80, 90, -100], [0, 5, 6, 7])
    flows = [[shared], [shared, other], [other]] + [[([c, -c, c, -c], [0, 1, 2, 3])] for c in range(10, 40)]
    marks = [[True], [False, True], [None]] + [[c % 2 == 0] for c in range(30)]
    captures = [
        _rows(f"c{index}", f"s{index}", windows, [Labels("web" if index % 2 else "chat", None, each) for each in of])
        for index, (windows, of) in enumerate(zip(flows, marks, strict=True))
    ]  # fmt: skip
    made = _choose(captures)
    assert made.report["copies"] == 2 and made.report["copied_captures"] == 2
    assert len(made) == 31 and [100, -200, 300, -400] not in made.series.sizes[:, :4].tolist(), "nothing is agreed on"
    (row,) = np.flatnonzero(made.series.sizes[:, 0] == 70)
    assert (made.capture[row], made.recording[row], made.malicious[row]) == (1, 0, 1), "labelled in one capture only"
    assert made.sites[made.site[row]] == "s0" and made.service[row] == ds.MISSING, (
        "chat in one capture, web in the other"
    )


def test_sizes_alone_make_no_two_captures_one_recording():
    """Short answers of a device are alike in sizes everywhere."""
    captures = _sites(12)
    for number in (0, 5):
        captures.append(
            _rows(f"series/{number}", f"site{number}", [([9, 9, 9, 9], [0] * 4)], [Labels("iot")], timed=False)
        )
    made = _choose(captures)
    assert made.report["copies"] == 1 and made.report["copied_captures"] == 0
    assert (
        not made.timed[made.series.sizes[:, 0] == 9].any()
        and made.timed.sum() == len(made) - (made.series.sizes[:, 0] == 9).sum()
    )
