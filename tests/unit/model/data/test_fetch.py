"""Public captures are fetched by repository, commit and path, and only what is the file that was meant is kept."""

import hashlib
import http.server
import io
import re
import sys
import threading
import urllib.error
import urllib.request
import zipfile

import pytest
import zstandard
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from mmtt_model.cli.dataset import dataset
from mmtt_model.data import fetch
from mmtt_model.data.errors import DatasetError

_COLUMNS = (
    "capture",
    "group",
    "service",
    "application",
    "malicious",
    "source_repo",
    "source_commit",
    "source_path",
    "source_bytes",
    "source_sha256",
)


@pytest.fixture
def repository(tmp_path):
    """A server with some files, and the address of it."""
    root = tmp_path / "served"
    files = {
        "a/one.pcap": b"first capture",
        "a/with space.pcap": b"second capture",
        "a/changed.pcap": b"not what it was",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.pcap", b"in an archive")
    files["a/packed.zip"] = packed.getvalue()
    for name, content in files.items():
        path = root / "owner" / "repo" / "c0ffee" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words) -> None:
            super().__init__(*words, directory=str(root))

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _row(capture, path, content):
    return dict(
        zip(
            _COLUMNS,
            (
                capture,
                "benign",
                "web",
                "",
                "0",
                "owner/repo",
                "c0ffee",
                path,
                str(len(content)),
                hashlib.sha256(content).hexdigest(),
            ),
            strict=True,
        )
    )


def test_captures_are_fetched_checked_and_not_fetched_twice(repository, tmp_path):
    rows = [
        _row("b/one.pcap.zst", "a/one.pcap", b"first capture"),
        _row("b/two.pcap", "a/with space.pcap", b"second capture"),
        _row("b/three.pcap.zst", "a/packed.zip!inside.pcap", b"in an archive"),
        _row("b/changed.pcap", "a/changed.pcap", b"what was trained"),
        _row("b/gone.pcap", "a/gone.pcap", b"x"),
    ]
    out = tmp_path / "out"
    failed = fetch.fetch(rows, out, 2, lambda _: None, repository)
    assert [line.split(":")[0] for line in failed] == ["owner/repo a/changed.pcap", "owner/repo a/gone.pcap"]
    assert "sha256" in failed[0] and "404" in failed[1]
    captures = out / "captures"
    assert zstandard.decompress((captures / "b/one.pcap.zst").read_bytes()) == b"first capture"
    assert (captures / "b/two.pcap").read_bytes() == b"second capture"
    assert zstandard.decompress((captures / "b/three.pcap.zst").read_bytes()) == b"in an archive"
    assert sorted(path.name for path in (captures / "b").iterdir()) == ["one.pcap.zst", "three.pcap.zst", "two.pcap"]
    assert len((out / "captures.tsv").read_text().splitlines()) == 4
    assert fetch.fetch(rows[:3], out, 2, lambda _: None, "http://127.0.0.1:9") == [], "nothing is asked for again"


def test_without_a_network_it_says_so_once_and_leaves_nothing(tmp_path):
    rows = [_row(f"b/{number}.pcap", f"a/{number}.pcap", b"x") for number in range(500)]
    said = []
    with pytest.raises(DatasetError) as caught:
        fetch.fetch(rows, tmp_path / "out", 8, said.append, "http://127.0.0.1:9")
    assert "127.0.0.1:9 can't be reached (" in str(caught.value) and "0 of 500 captures are there" in str(caught.value)
    assert said == [] and not (tmp_path / "out").exists()


def test_a_network_that_ends_in_the_middle_costs_nothing_that_was_there(repository, tmp_path, monkeypatch):
    rows = [_row("b/one.pcap", "a/one.pcap", b"first capture")]
    rows += [_row(f"b/{number}.pcap", f"a/{number}.pcap", b"x") for number in range(300)]
    asked = []

    def once(url, timeout):
        asked.append(url)
        if len(asked) > 1:
            raise urllib.error.URLError("Network is unreachable")
        return opens(url, timeout=timeout)

    opens = urllib.request.urlopen
    monkeypatch.setattr(urllib.request, "urlopen", once)
    with pytest.raises(DatasetError, match=r"can't be reached \(Network is unreachable\); 1 of 301 captures are there"):
        fetch.fetch(rows, tmp_path, 1, lambda _: None, repository)
    assert len(asked) < 10
    assert [line.split("\t")[0] for line in (tmp_path / "captures.tsv").read_text().splitlines()[1:]] == ["b/one.pcap"]


def test_what_is_said_meanwhile_adds_up(repository, tmp_path):
    rows = [_row(f"b/{number}.pcap", "a/one.pcap", b"first capture") for number in range(70)]
    rows += [_row(f"b/gone{number}.pcap", "a/gone.pcap", b"x") for number in range(60)]
    (tmp_path / "captures" / "b").mkdir(parents=True)
    for number in range(10):
        (tmp_path / "captures" / "b" / f"{number}.pcap").write_bytes(b"first capture")
    said = []
    assert len(fetch.fetch(rows, tmp_path, 4, said.append, repository)) == 60
    assert said[-1] == "fetching captures: 70 of 130 are there, 60 failed"
    for line in said:
        there, of, bad = (int(number) for number in re.findall(r"\d+", line))
        assert of == 130 and there + bad <= of


def test_the_shipped_table_names_every_public_capture_by_its_content():
    from pathlib import Path

    rows = fetch.read_table(Path("public"))
    assert len(rows) == 4387 and len({row["capture"] for row in rows}) == 4387
    assert all(len(row["source_commit"]) == 40 and len(row["source_sha256"]) == 64 for row in rows)


@pytest.mark.parametrize(("text", "word"), [
    ("capture\tsource_repo\n", "no column"), ("capture", "no column"),
    ("\t".join(_COLUMNS) + "\n" + "\t".join(_row("../../etc/x", "a", b"x").values()), "not inside the directory"),
])  # fmt: skip
def test_a_table_that_cant_be_used_gives_one_line(text, word, tmp_path):
    table = tmp_path / "captures.tsv"
    table.write_text(text)
    with pytest.raises(DatasetError, match=word):
        fetch.read_table(table)
    result = CliRunner().invoke(dataset, ["fetch", str(table), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1 and len(result.output.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_table_is_read_whole_and_names_each_capture_once(tmp_path):
    lines = ["\t".join(_COLUMNS), "\t".join(_row("x.pcap", "a", b"x").values())]
    table = tmp_path / "captures.tsv"
    table.write_text("\n".join(lines), encoding="utf-8-sig")
    assert [row["capture"] for row in fetch.read_table(table)] == ["x.pcap"]
    table.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(DatasetError, match=r"captures\.tsv: line 3: x\.pcap is on line 2 already"):
        fetch.read_table(table)
    table.write_text("\n".join([*lines, lines[1].replace("x.pcap", "y.pcap") + "\tmore"]))
    with pytest.raises(DatasetError, match=r"captures\.tsv: line 3 has more values than there are columns"):
        fetch.read_table(table)
    table.write_bytes(zstandard.compress("\n".join(lines).encode())[:-2])
    with pytest.raises(DatasetError, match="not one whole file"):
        fetch.read_table(table)


def test_without_nfstream_naming_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nfstream", None)
    result = CliRunner().invoke(dataset, ["name", str(tmp_path)])
    assert (
        result.exit_code == 1 and "pip install 'mmtt[ndpi]'" in result.output and len(result.output.splitlines()) == 1
    )
