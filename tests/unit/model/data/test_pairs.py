"""Connections of captures with their ends and labels, made once and read again; copies on one side."""

import csv
import dataclasses
import io
import shutil

import numpy as np
import pytest
import zstandard
from places import DATA
from synthetic import synthetic

from mmtt_agent.capture import read_capture
from mmtt_agent.series import MIN_PACKETS
from mmtt_model.data import pairs as module
from mmtt_model.data.dataset import Selection
from mmtt_model.data.dataset import load_or_build as load_dataset
from mmtt_model.data.labels import MISSING
from mmtt_model.data.pairs import load_or_build
from mmtt_model.data.sources import table

CAPTURES = {"a/office.pcap": "one/site", "b/copy.pcap": "other/site", "c/lab.pcap": "third/site"}


@pytest.fixture
def tables(tmp_path):
    """A directory of two captures and a copy of the first, all of it harmless."""
    directory = tmp_path / "data"
    for name in CAPTURES:
        (directory / "captures" / name).parent.mkdir(parents=True)
        shutil.copy(DATA / ("lab.pcap" if "lab" in name else "office.pcap"), directory / "captures" / name)
    with (directory / "captures.tsv").open("w") as file:
        writer = csv.DictWriter(file, table.CAPTURE_COLUMNS, delimiter="\t", restval="see result")
        writer.writeheader()
        writer.writerows(
            {"capture": name, "group": "benign", "malicious": "0", "source_repo": site}
            for name, site in CAPTURES.items()
        )
    text = io.StringIO()
    csv.DictWriter(text, table.FLOW_COLUMNS, delimiter="\t").writeheader()
    (directory / "flows.tsv.zst").write_bytes(zstandard.compress(text.getvalue().encode()))
    return directory


def _dataset(directory, tmp_path):
    # Without a single name of a flow nothing but harmless is known.
    return load_dataset(directory, tmp_path / "dataset.npz", Selection(), lambda line: None)


def test_connections_have_their_ends_and_windows_their_labels(tables, tmp_path):
    found = load_or_build(tables, tmp_path / "pairs.npz", _dataset(tables, tmp_path), 1, lambda line: None)
    assert found.captures == ["a/office.pcap", "c/lab.pcap"], "what is a copy of another is not there twice"
    office = read_capture(DATA / "office.pcap", checksums=False)
    mine = found.capture == 0
    assert mine.sum() == len(office.connections)
    orig, resp = office.connections.addresses(np.argsort(office.connections.ts, kind="stable"))
    assert [found.hosts[host] for host in found.orig[mine].tolist()] == orig
    assert [found.hosts[host] for host in found.resp[mine].tolist()] == resp
    of = found.capture[found.connection] == 0
    enough = office.windows.series.lengths >= MIN_PACKETS
    assert of.sum() == enough.sum() and (found.malicious == 0).all() and (found.kind == MISSING).all()
    assert sorted(found.ts[of].tolist()) == sorted(office.windows.ts[enough].tolist())
    first = office.windows.window == 0
    assert found.short[mine].sum() == (first & ~enough).sum()
    assert (found.hours > 0).all() and (found.split != MISSING).all()


def test_what_is_there_is_read_again_unless_the_data_changed(tables, tmp_path, monkeypatch):
    dataset = _dataset(tables, tmp_path)
    first = load_or_build(tables, tmp_path / "pairs.npz", dataset, 1, lambda line: None)
    with monkeypatch.context() as patched:
        patched.setattr(module, "_parts", lambda *_: pytest.fail("built again"))
        again = load_or_build(tables, tmp_path / "pairs.npz", dataset, 1, lambda line: None)
    for each in dataclasses.fields(first):
        one, other = getattr(first, each.name), getattr(again, each.name)
        if each.name == "series":
            assert np.array_equal(one.sizes, other.sizes) and np.array_equal(one.times, other.times)
        else:
            assert np.array_equal(one, other), each.name
    other = load_or_build(tables, tmp_path / "pairs.npz", synthetic(), 1, lambda line: None)
    assert other.key != first.key and (other.split == MISSING).all(), "of its sites that data set knows nothing"


def test_what_was_built_without_hosts_has_no_pairs(tmp_path):
    (tmp_path / "dataset.yaml").write_text("made_of: x\n")
    lines = []
    assert load_or_build(tmp_path, tmp_path / "pairs.npz", synthetic(), 1, lines.append) is None
    assert "has no hosts" in lines[0] and not (tmp_path / "pairs.npz").exists()
