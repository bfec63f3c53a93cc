"""Data sets from captures and what Zeek or the files' names say of them: built, taken up again, read back."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
import zstandard
from click.testing import CliRunner
from places import DATA

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'mmtt[train]'")

from mmtt_agent.capture import read_capture
from mmtt_agent.series import SeriesBatch
from mmtt_model.cli.dataset import dataset
from mmtt_model.data import build
from mmtt_model.data.build import read_built
from mmtt_model.data.dataset import Selection, load_or_build
from mmtt_model.data.errors import DatasetError
from mmtt_model.data.labels import Labels
from mmtt_model.data.rows import CaptureRows
from mmtt_model.data.sources import Entry, read_manifest, table
from mmtt_model.data.taxonomy import Taxonomy

OFFICE = DATA / "office.pcap"


@pytest.fixture
def network(tmp_path):
    """A capture of a network, and logs as Zeek writes them that name two of its servers."""
    (tmp_path / "captures").mkdir()
    (tmp_path / "logs").mkdir()
    shutil.copy(OFFICE, tmp_path / "captures" / "monday.pcap")
    found = read_capture(OFFICE, checksums=True).connections
    orig, resp = found.addresses(slice(None))
    tls = [i for i in range(len(orig)) if found.resp_p[i] == 443 and found.proto[i] == 6]
    named, looked_up = tls[0], next(i for i in tls if resp[i] != resp[tls[0]])
    ts = found.ts[named] / 1e6
    (tmp_path / "logs" / "ssl.log").write_text(
        "#separator \\x09\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tserver_name\n#types\ttime\n"
        f"{ts}\tC1\t{orig[named]}\t{found.orig_p[named]}\t{resp[named]}\t{found.resp_p[named]}\trr3.googlevideo.com\n#close\n"
    )
    (tmp_path / "logs" / "dns.log").write_text(
        json.dumps(
            {
                "ts": found.ts[looked_up] / 1e6 - 5,
                "id.orig_h": str(orig[looked_up]),
                "id.orig_p": 999,
                "id.resp_h": "10.0.0.1",
                "id.resp_p": 53,
                "query": "intra.example.org",
                "answers": [str(resp[looked_up])],
            }
        )
        + "\n"
    )
    manifest = tmp_path / "mine.yaml"
    manifest.write_text(
        yaml.safe_dump(
            {
                "kind": "server_names",
                "directory": "captures",
                "logs": "logs",
                "origin": "mine",
                "malicious": False,
                "domains": {"example.org": {"service": "database"}},
            }
        )
    )
    return manifest


def _build(manifest, out, *options):
    return CliRunner().invoke(dataset, ["build", str(manifest), "-o", str(out), "-j", "1", *options])


def test_ones_own_network_is_labelled_by_the_names_that_zeek_saw(network, tmp_path):
    out = tmp_path / "out"
    result = _build(network, out)
    assert result.exit_code == 0, result.output
    assert "1 captures" in result.output and "0 captures could not be read" in result.output
    (rows,) = read_built(out)
    assert rows.entry.name == "monday.pcap" and len(rows.labels) == len(rows.series) == len(rows.window) > 5
    labels = set(rows.labels)
    assert Labels("streaming", "YouTube", False, None, "name", "name") in labels, "by its server name"
    assert Labels("database", None, False, None, "name") in labels, (
        "by what had been looked up, and the user's own domain"
    )
    assert Labels(None, None, False) in labels, "the rest is not guessed"
    report = yaml.safe_load((out / "dataset.yaml").read_text())
    streaming = report["services"]["streaming"]
    assert streaming["labels"] == streaming["name"] >= 1 and streaming["sites"] == 1 and streaming["capture"] == 0
    assert report["windows"]["too short"] > 0
    header, *table_of_services = result.stdout.splitlines()[:3]
    assert header.split("\t") == ["services", "labels", "sites", "name", "protocol", "capture"]
    assert "\t".join(("streaming", *map(str, streaming.values()))) in table_of_services
    made = load_or_build(out, tmp_path / "cache.npz", Selection(min_sites=1), lambda _: None)
    assert made.sources == ["mine"] and "streaming" in made.services


def test_rows_come_back_from_parquet_as_they_were(tmp_path):
    series = SeriesBatch.from_lists([[100, -200, 300, -400], [1, 2, 3, 4, 5]], [[0, 10, 2**31 - 1, 2**31 - 1], [0] * 5])
    labels = [Labels("web", "Google", True, "scan", "name", "protocol", 2), Labels()]
    entry = Entry("a/b.pcap", Path("captures/a/b.pcap"), "owner/name", True, "MIT", "a site")
    rows = CaptureRows(
        entry, series, np.array([3, 0], np.uint8), np.array([True, False]), labels, {"windows": 9}, "cut"
    )
    empty = CaptureRows(Entry("series/x", Path("."), "x", series=True), SeriesBatch.from_lists([], []),
                        np.zeros(0, np.uint8), np.zeros(0, bool), [], {})  # fmt: skip
    folder = tmp_path / "windows"
    folder.mkdir()
    build._write([rows, empty], folder / "00000.parquet", "key")
    back, nothing = read_built(tmp_path)
    assert (back.entry, back.labels, back.counts, back.error) == (entry, labels, {"windows": 9}, "cut")
    for name in ("sizes", "times", "lengths"):
        np.testing.assert_array_equal(getattr(back.series, name), getattr(series, name), strict=True)
    assert (back.window.tolist(), back.timed.tolist()) == ([3, 0], [True, False])
    assert nothing.entry == empty.entry and not len(nothing.series) and not nothing.labels
    assert build._made_of(folder / "00000.parquet") == "key"


def test_a_build_goes_on_where_it_stopped_and_begins_anew_when_labels_change(network, tmp_path):
    out = tmp_path / "out"
    _build(network, out)
    file = out / "windows" / "00000.parquet"
    first = file.stat().st_mtime_ns
    assert "1 of 1 files of windows are there already" in _build(network, out).stderr
    assert file.stat().st_mtime_ns == first
    # One that was stopped: what it made is where it is until all is made.
    (out / "dataset.yaml").unlink()
    (out / ".windows.new").mkdir()
    file.rename(out / ".windows.new" / file.name)
    assert "1 of 1 files of windows are there already" in _build(network, out).stderr
    assert file.stat().st_mtime_ns == first and not (out / ".windows.new").exists()
    assert (out / "dataset.yaml").exists()
    network.write_text(network.read_text().replace("malicious: false", "malicious: true"))
    assert _build(network, out).exit_code == 0 and file.stat().st_mtime_ns != first
    (rows,) = read_built(out)
    assert all(label.malicious for label in rows.labels)


def test_an_unreadable_capture_is_reported_and_the_others_are_kept(network, tmp_path):
    (network.parent / "captures" / "bad.pcap").write_bytes(b"no capture at all")
    result = _build(network, tmp_path / "out")
    assert result.exit_code == 0 and "2 captures" in result.output and "1 captures could not be read" in result.output
    assert "bad.pcap" in yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text())["unreadable"][0]


def test_iscx_captures_are_labelled_by_their_names_and_the_hosts_background_is_not(tmp_path):
    (tmp_path / "captures" / "Tor").mkdir(parents=True)
    for name in ("skype_audio1a.pcap", "vpn_netflix_A.pcap", "unknown.pcap", "Tor/spotify.pcap"):
        shutil.copy(OFFICE, tmp_path / "captures" / name)
    manifest = tmp_path / "iscx.yaml"
    manifest.write_text("kind: iscx\ndirectory: captures\n")
    assert _build(manifest, tmp_path / "out").exit_code == 0
    found = {rows.entry.name: (rows.entry.labelled, set(rows.labels)) for rows in read_built(tmp_path / "out")}
    assert found["skype_audio1a.pcap"][1] - {Labels()} == {Labels("voip", "Skype", False, None, "capture", "capture")}
    assert found["vpn_netflix_A.pcap"][1] - {Labels()} == {
        Labels("tunnel", "OpenVPN", False, None, "capture", "capture")
    }
    assert found["Tor/spotify.pcap"][1] - {Labels()} == {Labels("tunnel", "Tor", False, None, "capture", "capture")}
    assert found["unknown.pcap"] == (False, {Labels()})


@pytest.mark.parametrize(("text", "word"), [
    ("kind: other", "kind must be one of"), ("kind: iscx\nfolder: x", "unknown key 'folder'"), ("[", "not YAML"),
    ("kind: iscx\ndirectory: nowhere", "is not there"),
    ("kind: server_names\ndirectory: .\nmalicious: maybe", "malicious must be"),
    ("kind: iscx\ndirectory: .", "no captures"),
    ("kind: [a]", "kind must be one of"), ("kind: iscx\nkind: tables", "'kind' is there twice"),
    ("[" * 9999, "not YAML"),
    ("kind: 2026-99-99", "not YAML"),
    *[(f"kind: server_names\ndirectory: .\n{line}", word) for line, word in (
        ("malicious: 0", "malicious must be"), ("malicious: 1.0", "malicious must be"), ("malicious: [a]", "malicious"),
        ("origin: [a]", "origin must be text"), ("origin:", "origin must be text"), ("logs: 5", "logs must be text"),
        *[(f"domains: {{{each}}}", told) for each, told in (
            ('"a b.org": {service: web}', "'a b.org' is no name"), ('"": {service: web}', "is no name"),
            ('"https://a.org/": {service: web}', "is no name"), ('"a.org:443": {service: web}', "is no name"),
            ("5: {service: web}", "is no name"), ('"a.*.org": {service: web}', "is no name"),
            ("a.org: {service: [web]}", "must have a service of"), ("a.org: web", "must have a service of"),
            ("a.org: {service: web, aplication: X}", "unknown key 'aplication'"),
            *[(f"a.org: {{service: web, application: {value}}}", "application must be text")
              for value in ("5", "[a]", "true", '""')],
            ('"*.a.org": {service: chat}, A.org.: {service: web}', "another answer"),
            ("a.org: {service: chat}, a.org: {service: web}", "is there twice"),
        )],
    )],
])  # fmt: skip
def test_a_wrong_manifest_gives_one_line(text, word, tmp_path):
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(text)
    with pytest.raises(DatasetError, match=word) as raised:
        read_manifest(manifest, Taxonomy())
    assert "manifest.yaml" in str(raised.value) or word == "no captures"
    result = _build(manifest, tmp_path / "out")
    assert result.exit_code == 1 and len(result.output.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


_ROW = {"ts": 1, "id.orig_h": "a", "id.orig_p": 1, "id.resp_h": "b", "id.resp_p": 2, "server_name": "a.org"}


@pytest.mark.parametrize(("name", "content"), [
    ("quic.log", b"{not json\n"), ("quic.log", b"{}\n[1]\n"), ("quic.log.gz", gzip.compress(b"x")[:10] + b"\xff" * 9),
    ("quic.log", b"#fields\tts\n" + b"1" * 200_000),
    ("quic.log", ("#fields\t" + "\t".join(_ROW) + "\n1\ta\t1\tb\n").encode()),
    ("quic.log", ("#fields\t" + "\t".join(_ROW) + "\n1\ta\t1\tb\t2\ta.exa1\ta\t1\tb\t2\ta.org\n").encode()),
    *[("quic.log", json.dumps(_ROW | wrong).encode()) for wrong in (
        {"server_name": 5}, {"server_name": ["a"]}, {"id.orig_h": ["a"]}, {"ts": float("nan")}, {"ts": [1]},
    )],
    ("dns.log", json.dumps(_ROW | {"query": "a.org", "answers": 5}).encode()),
    ("dns.log", json.dumps(_ROW | {"query": "a.org", "answers": [["a"]]}).encode()),
])  # fmt: skip
def test_a_log_that_is_none_is_named_and_nothing_is_left_of_the_build(network, tmp_path, name, content):
    (network.parent / "logs" / name).write_bytes(content)
    result = _build(network, tmp_path / "out" / "deep")
    assert result.exit_code == 1 and name in result.output and np.size(result.output.splitlines()) == 1
    assert isinstance(result.exception, SystemExit) and not (tmp_path / "out").exists()


def test_half_a_line_that_zeek_is_still_writing_is_left_out(network, tmp_path):
    before = _build(network, tmp_path / "before").stdout
    header = "#fields\t" + "\t".join(_ROW)
    (network.parent / "logs" / "quic.log").write_text(f"{header}\n1\t10.0.0.1\t1\t10.0")
    result = _build(network, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("/out", "/before") == before


def test_a_build_that_fails_leaves_the_finished_one_and_what_is_not_its_own(network, tmp_path):
    out = tmp_path / "out"
    _build(network, out)
    (out / "windows" / "mine.parquet").write_bytes(b"")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (network.parent / "captures" / "monday.pcap").write_bytes(b"no capture at all")
    result = _build(network, out)
    assert result.exit_code == 1 and "none of 1 captures could be read" in result.output
    assert "monday.pcap" in result.output
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not (out / ".windows.new").exists() and len(list(read_built(out))) == 1
    _build(network, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_files_of_more_captures_than_there_are_now_go_and_others_stay(network, tmp_path):
    out = tmp_path / "out"
    _build(network, out)
    for name in ("mine.parquet", "00007.parquet"):
        (out / "windows" / name).write_bytes(b"")
    assert _build(network, out).exit_code == 0
    assert {path.name for path in (out / "windows").iterdir()} == {"00000.parquet", "mine.parquet"}
    assert len(list(read_built(out))) == 1 and (out / "dataset.yaml").exists()


def test_what_names_what_is_printed(tmp_path):
    (tmp_path / "captures").mkdir()
    shutil.copy(OFFICE, tmp_path / "captures" / "a.pcap")
    header, row = "\t".join(table.CAPTURE_COLUMNS), "a.pcap\tbenign\t{}\tx\t{}\to/a\n"
    (tmp_path / "flows.tsv.zst").write_bytes(zstandard.compress("\t".join(table.FLOW_COLUMNS).encode()))
    for service, malicious, lost in (("web", 0, False), ("wbe", 0, True), ("see result", 0, False), ("c2", 1, False)):
        (tmp_path / "captures.tsv").write_text(f"{header}\n{row.format(service, malicious)}")
        result = _build(tmp_path, tmp_path / "out")
        assert " 0 named by nDPI, " in result.stdout and " not named by nDPI, " in result.stdout
        assert ("in captures of 'wbe', which is no service" in result.stdout) is lost


def test_a_damaged_file_of_windows_says_what_to_do(network, tmp_path):
    out = tmp_path / "out"
    _build(network, out)
    (out / "windows" / "00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="remove it"):
        list(read_built(out))
    assert _build(network, out).exit_code == 0, "and building makes it again"
    assert list(read_built(out))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"caf\xe9\tgroup\n", "UTF-8"),
        (b"\t".join(each.encode() for each in table.CAPTURE_COLUMNS) + b"\na.pcap\tbenign\n", "line 2 ends before"),
        (b"capture\n", "no column"),
    ],
)
def test_a_table_of_captures_that_is_none_is_told_in_a_line(tmp_path, content, told):
    (tmp_path / "captures.tsv").write_bytes(content)
    with pytest.raises(DatasetError, match=told) as raised:
        table.read_captures(tmp_path)
    assert "captures.tsv" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("a.pcap", "line 3: a.pcap is on line 2 already"),
        ("../b.pcap", "line 3: .*not inside"),
        ("/b.pcap", "not inside"),
    ],
)
def test_captures_that_are_there_twice_or_elsewhere_are_refused(tmp_path, second, told):
    rows = ["\t".join(table.CAPTURE_COLUMNS), *("\t".join((name, *"x" * 5)) for name in ("a.pcap", "b.pcap"))]
    path = tmp_path / "captures.tsv"
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    assert len(table.read_captures(tmp_path)) == 2, "what an editor puts before the text is no part of it"
    path.write_text("\n".join(rows).replace("b.pcap", second))
    with pytest.raises(DatasetError, match=told):
        table.read_captures(tmp_path)


def test_what_names_are_captures_is_one_list_and_what_cant_be_searched_is_told(tmp_path):
    logs, captures = tmp_path / "logs", tmp_path / "captures"
    logs.mkdir()
    captures.mkdir()
    (logs / "ssl.log").write_text("#fields\tts\n")
    for name in ("a.pcap", "b.dmp", "C.PCAPNG", "d.cap"):
        shutil.copy(DATA / "midstream.pcap", captures / name)
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("kind: server_names\ndirectory: captures\nlogs: logs\n")
    assert len(read_manifest(manifest, Taxonomy()).entries()) == 4
    (captures / "gone.pcap").symlink_to("nowhere")
    with pytest.raises(DatasetError, match=r"gone\.pcap: a link that leads nowhere"):
        read_manifest(manifest, Taxonomy())
