"""Flows of which only the series is public: sizes made payload, times where there are any, labels of whoever gathered
them; and beside captures in one directory, with a table of judged servers.
"""

import json
import shutil

import numpy as np
import pytest
import zstandard
from places import DATA

from mmtt_agent.capture import read_capture
from mmtt_model.data.dataset import Selection, load_or_build
from mmtt_model.data.errors import DatasetError
from mmtt_model.data.labels import Labels
from mmtt_model.data.rows import read_rows
from mmtt_model.data.sources import TableSource, series, table
from mmtt_model.data.taxonomy import Taxonomy

TAXONOMY = Taxonomy()


def flow(sizes, times=None, **changes):
    return {"source": "owner/data:part", "licence": "MIT", "service": "streaming", "application": "youtube",
            "malicious": "0", "sizes": sizes, "times_us": times, "size_kind": "tcp_payload"} | changes  # fmt: skip


def read(*flows):
    return series.windows(list(flows), TAXONOMY)


@pytest.mark.parametrize(("kind", "sizes", "payload"), [
    ("tcp_payload", [100, -1460, 1, -5], [100, -1460, 1, -5]),
    ("payload_from_frame", [100, 0, -1460, 1, -5], [100, -1460, 1, -5]),
    # Frames of up to 60 bytes are padding, or no more than an acknowledgement.
    ("frame_length", [154, 60, -1514, -54, 61, -74], [100, -1460, 7, -20]),
    ("ip_length", [140, -1500, 40, 41, -45, -40], [100, -1460, 1, -5]),
    # One of an acknowledgement with timestamps, the smallest, says that all have these.
    ("ip_length", [152, -1512, 52, 53, -57], [100, -1460, 1, -5]),
])  # fmt: skip
def test_sizes_are_those_of_payload_whatever_the_source_counts(kind, sizes, payload):
    found, *_ = read(flow(sizes, size_kind=kind))
    assert found.sizes[0, : found.lengths[0]].tolist() == payload


def test_a_datagrams_headers_are_shorter():
    found, *_ = read(flow([128, -1488, 29, -33], size_kind="ip_length", flow="10.0.0.1/UDP_1"))
    assert found.sizes[0, :4].tolist() == [100, -1460, 1, -5]


def test_times_are_those_of_packets_with_payload_since_the_first_of_these():
    found, timed, *_ = read(flow([0, 10, 0, -20, 30, -40, 50], [0, 5, 6, 9, 8, 70, 10**8]))
    assert timed.tolist() == [True] and found.sizes[0, : found.lengths[0]].tolist() == [10, -20, 30, -40]
    assert found.times[0, :4].tolist() == [0, 4, 4, 65], "in order, and the wait for the last is too long"


def test_windows_without_times_say_so():
    found, timed, labels, short = read(flow([1, 2, 3, 4]), flow([1, 2, 3]), flow([1, 2, 3, 4] * 20, list(range(80))))
    assert timed.tolist() == [False, True] and short == 1 and not found.times[0].any()
    assert found.lengths.tolist() == [4, 32] and len(labels) == 2


def test_their_labels_are_what_whoever_gathered_them_says():
    _, _, labels, _ = read(
        flow([1, 2, 3, 4]),
        flow([1, 2, 3, 4], service="iot", application="Nobody's Lamp"),
        flow([1, 2, 3, 4], service="exfil_tunnel", application="dnscat2", malicious="1"),
        flow([1, 2, 3, 4], service="unknown", application=None, malicious="?", size_kind=None),
    )
    assert labels == [
        Labels("streaming", "YouTube", False, None, "capture", "capture"),
        Labels("iot", None, False, None, "capture"),
        Labels(None, None, True, "tunnel"),
        Labels(),
    ]


@pytest.mark.parametrize("content", [
    b"no zstd", zstandard.compress(b"{no json\n"), zstandard.compress(b"\xff\n"), zstandard.compress(b"[1]\n"),
    *[zstandard.compress(json.dumps(flow([1, 2]) | wrong).encode()) for wrong in (
        {"sizes": ["x"]}, {"sizes": 7}, {"times_us": [1]}, {"times_us": [1, None]}, {"source": None}, {"service": 3},
        {"source": ""}, {"application": ["x"]}, {"flow": 5}, {"size_kind": 5}, {"size_kind": "frame_lenght"},
        {"malicious": True}, {"malicious": 2}, {"malicious": 1.0}, {"sizes": [True, 2]}, {"sizes": [2**31, 1]},
        {"times_us": [-1, 2]}, {"times_us": [0, 2**31]},
    )],
])  # fmt: skip
def test_a_damaged_file_gives_one_line(tmp_path, content):
    (tmp_path / "series.jsonl.zst").write_bytes(content)
    with pytest.raises(DatasetError, match=r"series\.jsonl\.zst: .*fetch it again") as raised:
        series.series_sources(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_line_that_is_damaged_is_told(tmp_path):
    lines = [json.dumps(flow([1, 2])), json.dumps(flow([1, 2], malicious=1, times_us=[5, 3])), "{x"]
    (tmp_path / "series.jsonl.zst").write_bytes(zstandard.compress("\n".join(lines).encode()))
    with pytest.raises(DatasetError, match="line 3 is no JSON"):
        series.series_sources(tmp_path)


def test_all_frames_are_read_and_none_that_is_cut_off_is_taken_for_whole(directory):
    path = directory / "sequences.jsonl.zst"
    whole = zstandard.compress(json.dumps(flow([1, 2, 3, 4])).encode() + b"\n")
    path.write_bytes(whole * 2)
    assert len(series.series_sources(directory)["owner/data:part"]) == 2
    flows = (directory / "flows.tsv.zst").read_bytes()
    for cut, content in ((path, (whole * 2)[:-4]), (path, b""), (directory / "flows.tsv.zst", flows[:-2])):
        cut.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"{cut.name}: ends before its end; fetch it again"):
            TableSource(directory, TAXONOMY).entries()
        path.write_bytes(whole)


@pytest.fixture
def directory(tmp_path):
    """A capture of an office whose TLS flows nDPI names, and series of two sources."""
    (tmp_path / "captures").mkdir()
    shutil.copy(DATA / "office.pcap", tmp_path / "captures" / "office.pcap")
    (tmp_path / "captures.tsv").write_text(
        "\t".join((*table.CAPTURE_COLUMNS, "site"))
        + "\noffice.pcap\tbenign\tsee result\tx\t0\towner/office\tthe office\n"
    )
    found = read_capture(DATA / "office.pcap", checksums=False).connections
    orig, resp = found.addresses(slice(None))
    tls = np.flatnonzero((found.resp_p == 443) & (found.proto == 6)).tolist()
    rows = [table.FLOW_COLUMNS] + [
        ["office.pcap", found.ts[c] // 1000, found.ts[c] // 1000 + 10**6, 6, orig[c], found.orig_p[c], resp[c], 443,
         "TLS.YouTube", "Media", 0, "Judged.Example."]
        for c in tls
    ]  # fmt: skip
    rows = ["\t".join(map(str, row)) for row in rows]
    (tmp_path / "flows.tsv.zst").write_bytes(zstandard.compress("\n".join(rows).encode()))
    flows = [flow([1, 2, 3, 4]), flow([1, 2, 3], source="other/data")]
    (tmp_path / "sequences.jsonl.zst").write_bytes(zstandard.compress("\n".join(map(json.dumps, flows)).encode()))
    return tmp_path


def hosts(directory, *rows):
    (directory / "hosts.tsv").write_text(
        "host\tservice\tapplication\tsure\n" + "\n".join("\t".join(row) for row in rows) + "\n"
    )


def office(directory):
    """The labels of the office's TLS windows."""
    source = TableSource(directory, TAXONOMY)
    (entry,) = [entry for entry in source.entries() if not entry.series]
    return {label for label in read_rows(source, entry).labels if label.transport}


def test_a_table_of_judged_servers_outranks_ndpi(directory):
    assert office(directory) == {Labels(None, "YouTube", False, None, "", "protocol", 1)}
    before = TableSource(directory, TAXONOMY).digest()
    hosts(directory, ("other.example", "web", "-", "1"), ("judged.example", "chat", "Discord", "1"))
    assert office(directory) == {Labels("chat", "Discord", False, None, "name", "name", 1)}
    assert TableSource(directory, TAXONOMY).digest() != before, "what was made of other labels is made anew"
    hosts(directory, ("judged.example", "web", "-", "0"))
    assert {(label.service, label.service_by) for label in office(directory)} == {("web", "name")}


def test_servers_are_found_however_they_are_written(directory):
    hosts(directory, (" *.Judged.Example. ", "chat", "Discord", "1"), ("judged.example", "chat", "Discord", "0"))
    (directory / "hosts.tsv").write_bytes(b"\xef\xbb\xbf" + (directory / "hosts.tsv").read_bytes())
    assert {label.application for label in office(directory)} == {"Discord"}
    hosts(directory, ("judged.example", "chat", "Discord", "1"), ("Judged.Example.", "web", "-", "0"))
    with pytest.raises(DatasetError, match=r"hosts\.tsv: line 3: judged\.example is there already with another answer"):
        TableSource(directory, TAXONOMY)


@pytest.mark.parametrize(
    ("row", "told"), [(("a.example", "wbe", "-", "1"), "'wbe'; known: web"), (("a.example",), "ends before")]
)
def test_a_wrong_table_of_servers_gives_one_line(directory, row, told):
    hosts(directory, row)
    with pytest.raises(DatasetError, match=told) as raised:
        TableSource(directory, TAXONOMY)
    assert "hosts.tsv" in str(raised.value) and "\n" not in str(raised.value)


def test_series_are_entries_beside_the_captures_each_source_one(directory):
    source = TableSource(directory, TAXONOMY)
    one, two, three = source.entries()
    assert (one.name, one.origin, one.site, one.series) == ("office.pcap", "owner/office", "the office", False)
    assert (two.name, two.origin, two.licence, two.series) == ("series/owner/data:part", "owner/data", "MIT", True)
    rows = read_rows(source, two)
    assert len(rows.labels) == len(rows.series) == 1 and rows.counts["too short"] == 0
    assert read_rows(source, three).counts["too short"] == 1
    made = load_or_build(directory, directory / "cache.npz", Selection(min_sites=1), lambda _: None)
    assert set(made.sites) == {"office.pcap", "series/owner/data:part", three.name}, "few sites: each recording is one"
    (untimed,) = np.flatnonzero(~made.timed)
    assert made.services[made.service[untimed]] == "streaming" and made.sites[made.site[untimed]] == two.name
