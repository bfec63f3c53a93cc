"""Zeek's logs as they may lie about: TSV and JSON, packed, rotated, half written, damaged."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path

import pytest
import zstandard

from mmtt_agent import logs

TSV = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tx\n"
    "#fields\tts\tuid\tid.resp_p\tscore\tgood\tnote\tuids\n"
    "#types\ttime\tstring\tport\tdouble\tbool\tstring\tvector[string]\n"
    "1700000000.000001\tC1\t443\t0.5\tT\ta\\x09b\tC1,C\\x2c2\n"
    "1700000001.5\tC2\t-\t-\tF\t(empty)\t(empty)\n"
)
ROWS = [
    {
        "ts": 1_700_000_000_000_001, "uid": "C1", "id.resp_p": 443, "score": 0.5, "good": True, "note": "a\tb",
        "uids": ["C1", "C,2"],
    },
    {"ts": 1_700_000_001_500_000, "uid": "C2", "good": False, "note": "", "uids": []},
]  # fmt: skip


def written(path, text: str):
    data = text.encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


def read(path, **options):
    """All rows, none of them damaged."""
    damaged = logs.Damaged()
    yield from logs.records(path, damaged, **options)
    assert damaged.told(path) == []


@pytest.mark.parametrize("name", ["x.log", "x.log.gz", "x.log.zst"])
def test_tsv_and_json_are_the_same_however_they_are_packed(tmp_path, name):
    assert [*read(written(tmp_path / name, TSV + "#close\t2026-11-27-01-00-00\n"))] == ROWS
    lines = "".join(json.dumps({**row, "ts": row["ts"] / 1e6}) + "\n" for row in ROWS)
    assert [*read(written(tmp_path / name, lines))] == ROWS


@pytest.mark.parametrize(
    ("ts", "time"),
    [
        ("2023-11-14T22:13:20.000001Z", 1_700_000_000_000_001),
        ("2023-11-14T23:13:20.000001+01:00", 1_700_000_000_000_001),
        (1_700_000_000, 1_700_000_000_000_000),
        (1_700_000_000_001, 1_700_000_000_001_000),
    ],
)
def test_times_of_json_are_what_zeek_was_told_to_write(tmp_path, ts, time):
    assert [*read(written(tmp_path / "x.log", json.dumps({"ts": ts}) + "\n"))] == [{"ts": time}]


def test_what_zeek_is_still_writing_is_left_out(tmp_path):
    assert [*read(written(tmp_path / "x.log", TSV + "1700000002.0\tC3"))] == ROWS
    assert [*read(written(tmp_path / "x.log", '{"ts":1700000000.5}\n{"ts":17'))] == [{"ts": 1_700_000_000_500_000}]


def test_only_rows_with_certain_words(tmp_path):
    path = written(tmp_path / "x.log", TSV)
    assert [*read(path, words=["C2", "C9"])] == ROWS[1:]
    assert [*read(path, words=["C9"])] == []


def test_other_separators(tmp_path):
    text = "#separator |\n#set_separator|;\n#unset_field|*\n#fields|a|b|c\n#types|count|set[string]|string\n1|x;y|*\n"
    assert [*read(written(tmp_path / "x.log", text))] == [{"a": 1, "b": ["x", "y"]}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello\n", "1: no #fields and #types before it; is it a log of Zeek's?"),
        (TSV + "1\t2\n", "10: 2 columns, and 7 #fields"),
        (TSV + "now\tC\t-\t-\t-\t-\t-\n", "10: ts can't be 'now'"),
        (TSV + "1\tC\t-\t-\tyes\t-\t-\n", "10: good can't be 'yes'"),
        ('{"ts":1.5}\n{"ts":}\n', "2: not JSON"),
        ('{"ts":[]}\n', "1: ts can't be []"),
        ('{"ts":"soon"}\n', "1: ts can't be 'soon'"),
    ],
)
def test_a_row_that_cant_be_read_is_told_with_its_line(tmp_path, text, says):
    path, damaged = written(tmp_path / "x.log", text), logs.Damaged()
    assert len([*logs.records(path, damaged)]) == (2 if text.startswith(TSV) else text.count("1.5"))
    assert damaged.told(path) == [f"{path}: a row could not be read, and is left out: line {says}"]


def test_after_a_damaged_row_the_others_are_read(tmp_path):
    path, damaged = tmp_path / "x.log", logs.Damaged()
    head, first, second = TSV.rpartition("17000000")[0].rpartition("1700000000")[0], *TSV.splitlines()[-2:]
    written(path, f"{head}{first}\n17000\x00\n{second}\nnow\tC\t-\t-\t-\t-\t-\n{first}\n")
    assert [*logs.records(path, damaged)] == [*ROWS, ROWS[0]]
    assert damaged.told(path) == [
        f"{path}: 2 rows could not be read, and are left out; the first, line 9: 1 columns, and 7 #fields"
    ]
    written(path, 'ts":1}\n{"ts":1.5}\n{"a":' + "[" * 100_000 + '\n{"ts":2.5}\n')
    damaged = logs.Damaged()
    assert [row["ts"] for row in logs.records(path, damaged)] == [1_500_000, 2_500_000]
    assert damaged.rows == 2 and damaged.first.startswith("line 1: no #fields")


def test_what_is_neither_a_file_nor_a_pipe_is_not_read(tmp_path):
    for place in ("/dev/zero", "/dev/full", "/dev/null"):
        with pytest.raises(logs.LogError, match=f"^{place}: neither a file nor a pipe$"):
            [*read(Path(place))]
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(TSV,))
    writer.start()
    assert [*read(tmp_path / "pipe")] == ROWS
    writer.join()


def test_what_cant_be_read_is_told_in_a_line(tmp_path):
    path = tmp_path / "x.log.gz"
    path.write_bytes(gzip.compress(TSV.encode())[:-20])
    for place, says in ((tmp_path / "gone.log", "No such file"), (path, "damaged"), (tmp_path, "Is a directory")):
        with pytest.raises(logs.LogError, match=f"^{place}: {says}[^\n]*$"):
            [*read(place)]


def test_logs_of_a_directory_are_those_of_now_and_rotated_ones_each_once(tmp_path):
    names = [
        "conn.log", "conn-26-11-27_21.00.00.log", "conn.2026-11-27-21-00-00.log.gz",
        "2026-11-26/conn.00:00:00-01:00:00.log.gz", "spool/conn.log",
    ]  # fmt: skip
    for name in (*names, "conn-summary.txt", "connections.log", "mmtt.log", "2026-11-26/deeper/conn.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "current").symlink_to("spool")
    found = logs.files(tmp_path, "conn")
    assert {str(path.resolve().relative_to(tmp_path.resolve())) for path in found} == {*names}
    assert len(found) == len(names)
