"""`mmtt classify` as its user sees it."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_captures import ACK, RST, SYN, A, B, Packet, framed, pcap, tcp, udp
from places import DATA
from rich.console import Console
from tiny_bundle import KINDS, make_bundle, with_incidents, with_kinds

from mmtt_agent.classify import table
from mmtt_agent.classify.cli import classify
from mmtt_agent.classify.log import COLUMNS, INCIDENT_COLUMNS, INCIDENTS, ROWS, JsonWriter, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row

OFFICE = DATA / "office.pcap"

ROW = Row(1_700_000_000_000_120, "CAbc", "10.0.0.1", 4000, "fd00::1", 443, "tcp", 0, 32,
          "web", 0.97, "-", 1.0, False, 0.0123, None, "ok", None, "m@12345678", None, "a.pcap")  # fmt: skip


def run(*arguments, input: bytes | None = None):
    return CliRunner().invoke(classify, [str(a) for a in arguments], input=input)


def body(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def column(text: str, name: str) -> list[str]:
    at = [name for name, _ in COLUMNS].index(name)
    return [row[at] for row in body(text)]


def test_a_pipe_gets_zeeks_tsv():
    result = run(OFFICE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "#separator \\x09"
    assert lines[4] == "#path\tmmtt"
    assert lines[6].split("\t")[:4] == ["#fields", "ts", "uid", "id.orig_h"]
    assert lines[7].split("\t")[:4] == ["#types", "time", "string", "addr"]
    assert lines[-1].startswith("#close\t")
    assert {len(row) for row in body(result.stdout)} == {len(COLUMNS)}


def test_known_flows_of_the_office_are_all_there():
    result = run(OFFICE, "--format", "json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    first = Counter((row["proto"], row["id.resp_p"]) for row in rows if row["window"] == 0)
    assert first["udp", 53] == 6  # look-ups
    assert first["tcp", 22] == 2  # SSH
    assert first["udp", 40000] == 1  # voice
    assert first["udp", 443] == 1  # QUIC
    assert any(row["id.orig_h"].startswith("10.78.") for row in rows), "the connection inside VXLAN"
    assert any(":" in row["id.resp_h"] for row in rows), "the connection over IPv6"
    assert any(row["window"] == 1 for row in rows), "a connection of more than 257 packets has a second window"


def test_short_windows_have_a_row_that_says_so_and_no_verdict():
    rows = [json.loads(line) for line in run(OFFICE, "--format", "json").stdout.splitlines()]
    short = [row for row in rows if row["packets"] < 4]
    assert short
    assert all(row["status"] == "too_short" and "service" not in row for row in short)
    assert all(row["status"] == "ok" and 0 <= row["service_score"] <= 1 for row in rows if row["packets"] >= 4)


def test_twice_the_same_capture_gives_the_same_rows():
    assert body(run(OFFICE).stdout) == body(run(OFFICE).stdout)


def test_packed_and_piped_captures_give_the_same_rows(tmp_path):
    packed = tmp_path / "office.pcap.gz"
    packed.write_bytes(gzip.compress(OFFICE.read_bytes()))
    plain = body(run(OFFICE).stdout)
    assert body(run(packed).stdout) == plain
    assert body(run("-", input=packed.read_bytes()).stdout) == plain
    assert body(run("-", input=OFFICE.read_bytes()).stdout) == plain


def test_a_directory_is_searched_for_captures(tmp_path):
    (tmp_path / "below").mkdir()
    shutil.copy(OFFICE, tmp_path / "below" / "a.pcap")
    shutil.copy(DATA / "midstream.pcap", tmp_path / "b.PCAP")
    (tmp_path / "notes.txt").write_text("not a capture")
    both = run(tmp_path)
    assert both.exit_code == 0, both.output
    assert len(body(both.stdout)) == len(body(run(OFFICE).stdout)) + len(body(run(DATA / "midstream.pcap").stdout))


def test_output_directory_gets_a_log_that_zeek_cut_reads(tmp_path):
    result = run(OFFICE, "-o", tmp_path / "new")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "finds no incidents" not in result.stderr
    log = tmp_path / "new" / "mmtt.log"
    assert body(log.read_text()) == body(run(OFFICE).stdout)
    assert {path.name for path in log.parent.iterdir()} == {"mmtt.log", "mmtt_incidents.log"}
    assert log.stat().st_mode & 0o044, "others may read it, as they may read Zeek's logs"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"#!/bin/sh\necho no capture\n" * 9, "capture"), (b"\x1f\x8b\x08", "compressed data ends early")],
)
def test_what_is_no_capture_gets_one_line_and_writes_nothing(tmp_path, content, says):
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(content)
    result = run(bad, "-o", tmp_path / "logs")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert str(bad) in line and says in line.lower()
    assert not list((tmp_path / "logs").glob("*"))
    assert run(bad).stdout == ""


def test_a_bad_capture_does_not_cost_the_others_their_rows(tmp_path):
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture at all, whatever its name says")
    result = run(bad, OFFICE)
    assert result.exit_code == 1
    assert str(bad) in result.stderr
    assert [row[:-1] for row in body(result.stdout)] == body(run(OFFICE).stdout)


def test_a_cut_off_capture_gives_what_it_holds_and_says_so(tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(OFFICE.read_bytes()[:400_001])
    result = run(cut)
    assert result.exit_code == 0
    assert str(cut) in result.stderr
    assert 0 < len(body(result.stdout)) < len(body(run(OFFICE).stdout))


def test_rows_say_which_capture_they_are_of_where_there_may_be_several(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # a table as wide as the names are long
    shutil.copy(OFFICE, tmp_path / "a.pcap")
    odd = os.fsdecode(b"b\xff\t\\.pcap")
    shutil.copy(DATA / "midstream.pcap", tmp_path / odd)
    alone = [body(run(path).stdout) for path in (OFFICE, DATA / "midstream.pcap")]
    names = (f"{tmp_path}/a.pcap", f"{tmp_path}/b\\xff\\x09\\x5c.pcap")
    expected = [[*row, name] for rows, name in zip(alone, names, strict=True) for row in rows]
    for arguments in ([tmp_path], [tmp_path / "a.pcap", tmp_path / odd]):
        text = run(*arguments).stdout
        assert body(text) == expected
        fields, types = (line.split("\t") for line in text.splitlines()[6:8])
        assert (fields[-2:], types[-2:]) == (["incident", "capture"], ["string", "string"])
        lines = [json.loads(line) for line in run("--format", "json", *arguments).stdout.splitlines()]
        assert [*dict.fromkeys(line["capture"] for line in lines)] == [names[0], f"{tmp_path}/b\\xff\t\\.pcap"]
    # Also where the others turn out not to be there, so that a script finds the same columns every time.
    assert {row[-1] for row in body(run(OFFICE, tmp_path / "gone.pcap").stdout)} == {str(OFFICE)}
    assert "capture" not in json.loads(run("--format", "json", OFFICE).stdout.splitlines()[0])
    table = run("--format", "table", "--flows", 0, tmp_path).stdout
    assert "a.pcap" in table and "\\xff" in table


@pytest.mark.parametrize("argument", ["missing.pcap", "."])
def test_arguments_that_name_no_capture(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(argument)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_table_in_a_directory_is_refused(tmp_path):
    assert run(OFFICE, "--format", "table", "-o", tmp_path).exit_code == 2


def test_table_shows_the_most_suspicious_flow_first():
    rows = [ROW._replace(uid=f"C{i}", orig_p=1000 + i, malicious_score=i / 10, malicious=i > 7) for i in range(9)]
    console = Console(width=140, record=True, file=io.StringIO())
    table.show(console, rows, 3, several=False)
    text = console.export_text()
    assert "9 with a verdict" in text and "1 flagged malicious" in text
    shown = [line for line in text.splitlines() if "10.0.0.1:" in line]
    assert ["10.0.0.1:1008" in shown[0], "10.0.0.1:1007" in shown[1], len(shown)] == [True, True, 3]
    assert "[fd00::1]:443" in shown[0]
    assert "6 flows less suspicious" in text


def test_a_connection_counts_once_with_its_latest_verdict():
    rows = [
        ROW,
        ROW._replace(window=1, service="voip"),
        ROW._replace(window=2, status="too_short", service=None),
    ]
    console = Console(width=140, record=True, file=io.StringIO())
    table.show(console, rows, 0, several=False)
    text = console.export_text()
    assert "1 flows with payload" in text
    assert "voip" in text and "web" not in text


def test_the_same_connection_in_two_captures_is_two_flows():
    console = Console(width=140, record=True, file=io.StringIO())
    table.show(console, [ROW, ROW._replace(capture="b[/].pcap")], 0, several=True)
    text = console.export_text()
    assert "2 flows with payload" in text and "a.pcap" in text and "b[/].pcap" in text


def test_a_time_that_no_calendar_has_is_in_the_table_all_the_same():
    console = Console(width=140, record=True, file=io.StringIO())
    table.show(console, [ROW._replace(ts=9 * 10**18)], 0, several=False)
    assert "9000000000000 s" in console.export_text()


def test_more_is_called_malicious_where_more_false_alarms_may_be(tmp_path):
    made = make_bundle(tmp_path, false_positives={"1%": 0.3, "0.1%": 0.9})

    def flagged(*options):
        return column(run(OFFICE, "--bundle", made, *options).stdout, "malicious").count("T")

    assert flagged("--false-positives", "1%") > flagged() > flagged("--false-positives", "0.1%")
    wrong = run(OFFICE, "--bundle", made, "--false-positives", "7%")
    assert wrong.exit_code == 2 and wrong.stdout == ""
    assert wrong.stderr.splitlines() == [
        f"Error: {made}/bundle.yaml: false_positives has no threshold for 7%; there are 0.1%, 1%"
    ]


def test_kinds_of_malicious_stand_where_the_model_is_sure_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    made = make_bundle(tmp_path, **with_kinds())
    text = run(OFFICE, "--bundle", made).stdout
    malicious, kinds = column(text, "malicious"), column(text, "malicious_kind")
    assert {*kinds} > {"-"} and {*kinds} <= {"-", *KINDS}
    assert {m for m, kind in zip(malicious, kinds, strict=True) if kind != "-"} == {"T"}
    # As Zeek does it, JSON leaves out what is unset.
    lines = [json.loads(line) for line in run(OFFICE, "--bundle", made, "--format", "json").stdout.splitlines()]
    assert [line.get("malicious_kind", "-") for line in lines] == kinds
    assert list(next(line for line in lines if "malicious_kind" in line))[14:17] == [
        "malicious_score", "malicious_kind", "status",
    ]  # fmt: skip
    table = run(OFFICE, "--bundle", made, "--format", "table", "--flows", 0).stdout
    assert "kind" in table and any(kind in table for kind in KINDS)


def test_a_model_without_kinds_leaves_the_column_unset_and_the_table_as_it_was():
    assert {*column(run(OFFICE).stdout, "malicious_kind")} == {"-"}
    assert "malicious_kind" not in run(OFFICE, "--format", "json").stdout
    console = Console(width=140, record=True, file=io.StringIO())
    table.show(console, [ROW], 0, several=False)
    assert "kind" not in console.export_text()


def test_names_that_would_read_as_unset_are_escaped(tmp_path):
    path = tmp_path / "log"
    with path.open("w") as out:
        TsvWriter(out, ROWS, several=False).write(ROW)
    (row,) = body(path.read_text())
    assert row[0] == "1700000000.000120"
    assert row[11] == "\\x2d"
    assert row[15] == row[17] == "-"


def test_the_installed_program_runs_and_a_closed_pipe_is_no_error():
    program = Path(sys.executable).with_name("mmtt")
    done = subprocess.run(
        f"{program} classify {OFFICE} | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout == "#separator \\x09\n"
    (line,) = done.stderr.splitlines()
    assert "left out of 1,539 packets: 4 not IP (ARP), " in line


def test_packets_with_wrong_checksums_are_counted_and_taken_when_told(tmp_path):
    data = bytearray(OFFICE.read_bytes())
    order = "little" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else "big"
    link = {1: 14, 101: 0}[int.from_bytes(data[20:24], order)]
    at, damaged = 24, 0
    while at < len(data):
        size = int.from_bytes(data[at + 8 : at + 12], order)
        ip = at + 16 + link
        if data[ip] == 0x45 and data[ip + 9] == 6:
            data[ip + 36] ^= 0xFF  # in the TCP checksum
            damaged += 1
        at += 16 + size
    offloaded = tmp_path / "offloaded.pcap"
    offloaded.write_bytes(data)
    plain = run(offloaded)
    assert f"{damaged:,} with a wrong checksum (-C takes them)" in plain.stderr
    told, whole = run("-C", offloaded), run(OFFICE)
    assert "checksum" not in told.stderr
    assert column(told.stdout, "service") == column(whole.stdout, "service")
    assert column(plain.stdout, "proto").count("tcp") < column(whole.stdout, "proto").count("tcp")


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    """A bundle that finds every pair of hosts suspicious."""
    return make_bundle(tmp_path_factory.mktemp("finder"), **with_incidents(0.0))


def test_incidents_are_written_beside_the_rows_that_they_are_of(tmp_path, finder):
    result = run(OFFICE, "--bundle", finder, "-o", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "") and "no incidents" not in result.stderr
    text = (tmp_path / "mmtt_incidents.log").read_text()
    lines = text.splitlines()
    assert lines[4] == "#path\tmmtt_incidents"
    assert lines[6].split("\t")[1:] == [name for name, _ in INCIDENT_COLUMNS]
    assert lines[7].split("\t")[1:] == [kind for _, kind in INCIDENT_COLUMNS]
    incidents = [dict(zip([name for name, _ in INCIDENT_COLUMNS], row, strict=True)) for row in body(text)]
    assert incidents
    states = {}
    for row in incidents:
        states.setdefault(row["id"], []).append(row["state"])
    assert {(each[0], each[-1]) for each in states.values()} == {("opened", "closed")}, (
        "a capture's end closes them all"
    )
    flows = {row[1]: row for row in body((tmp_path / "mmtt.log").read_text())}
    for row in incidents:
        for uid in () if row["uids"] == "(empty)" else row["uids"].split(","):
            assert (flows[uid][2], flows[uid][4], flows[uid][5]) == (row["orig_h"], row["resp_h"], row["resp_p"])


def test_incidents_are_printed_when_asked_for(tmp_path, finder):
    run(OFFICE, "--bundle", finder, "-o", tmp_path)
    asked = run(OFFICE, "--bundle", finder, "--incidents")
    assert body(asked.stdout) == body((tmp_path / "mmtt_incidents.log").read_text())
    rows = [
        json.loads(line)
        for line in run(OFFICE, "--bundle", finder, "--incidents", "--format", "json").stdout.splitlines()
    ]
    assert [(row["id"], row["state"], f"{row['ts']:.6f}") for row in rows] == [
        (row[1], row[2], row[0]) for row in body(asked.stdout)
    ]
    assert all(isinstance(row["uids"], list) and isinstance(row["first"], float) for row in rows)
    # Without that rows only.
    assert {len(row) for row in body(run(OFFICE, "--bundle", finder).stdout)} == {len(COLUMNS)}


def test_the_table_ends_with_incidents_each_once(finder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = run(OFFICE, "--bundle", finder, "--format", "table").stdout
    rows = body(run(OFFICE, "--bundle", finder, "--incidents").stdout)
    assert f"{len({row[1] for row in rows})} incidents" in result
    for row in rows:
        assert result.count(row[1]) == 1
        resp = f"[{row[4]}]" if ":" in row[4] else row[4]
        assert f"{row[3]} → {resp}:{row[5]}" in result
    alone = run(OFFICE, "--bundle", finder, "--format", "table", "--incidents").stdout
    assert alone.strip() and result.endswith(alone)


def test_rows_say_which_incident_had_been_open_when_they_began(tmp_path, finder):
    """Three conversations of a pair, minutes apart."""

    def talk(at):
        return [
            Packet(round((at + step / 10) * 1e6), udp(A, 40_000 + at, B, 443, payload=b"x" * 100)) for step in range(6)
        ]

    path = tmp_path / "three.pcap"
    path.write_bytes(pcap(framed([*talk(0), *talk(60), *talk(200)])))
    (incident,) = {row[1] for row in body(run(path, "--bundle", finder, "--incidents").stdout)}
    # LATENESS after the first epoch's end, so that it makes no difference in what order flows are heard of.
    assert column(run(path, "--bundle", finder).stdout, "incident") == ["-", "-", incident]


def test_how_many_windows_are_classified_at_once_changes_nothing(finder, monkeypatch):
    before = [body(run(DATA / "lab.pcap", "--bundle", finder, *more).stdout) for more in ([], ["--incidents"])]
    monkeypatch.setattr("mmtt_agent.classify.rows._STEP", 3)
    assert [body(run(DATA / "lab.pcap", "--bundle", finder, *more).stdout) for more in ([], ["--incidents"])] == before


def test_connections_without_a_verdict_are_evidence(tmp_path, finder):
    """A scan: ports that refuse, and hosts that do not answer."""
    packets = []
    for number in range(40):
        at, ends = number * 100_000, (A, 40_000 + number, B, 1 + number % 2)
        packets.append(Packet(at, tcp(*ends, SYN)))
        if number % 2:
            packets.append(Packet(at + 1000, tcp(B, 2, A, 40_000 + number, RST | ACK)))
    path = tmp_path / "scan.pcap"
    path.write_bytes(pcap(framed([*packets, Packet(60_000_000, tcp(A, 50_000, B, 9, ACK))])))
    rows = {row[5]: row for row in body(run(path, "--bundle", finder, "--incidents").stdout)}
    assert {port: row[8] for port, row in rows.items()} == {"1": "20", "2": "20"}
    assert all("20 connections not answered or refused" in row[13] and row[14] == "(empty)" for row in rows.values())
    table = run(path, "--bundle", finder, "--format", "table").stdout
    assert "2 incidents" in table, "though no flow has a verdict"


def test_a_capture_stands_for_itself_and_rows_say_which(tmp_path, finder):
    for name in ("a", "b"):
        shutil.copy(OFFICE, tmp_path / f"{name}.pcap")
    rows = body(run(tmp_path, "--bundle", finder, "--incidents").stdout)
    assert Counter(row[-1] for row in rows) == dict.fromkeys(
        (f"{tmp_path}/a.pcap", f"{tmp_path}/b.pcap"), len(body(run(OFFICE, "--bundle", finder, "--incidents").stdout))
    )


def test_a_model_without_incidents_says_so_in_a_line(tmp_path):
    plain = make_bundle(tmp_path / "plain")
    line = "finds no incidents; those of mmtt 0.5.0 and later do"
    assert line in run(OFFICE, "--bundle", plain, "--format", "table").stdout
    assert "no incidents" not in run(OFFICE, "--bundle", plain).stderr, "nobody has asked"
    asked = run(OFFICE, "--bundle", plain, "--incidents", "--format", "json")
    assert (asked.exit_code, asked.stdout, asked.stderr.splitlines()[-1].partition(" finds")[2]) == (
        0, "", line.removeprefix("finds"),
    )  # fmt: skip
    assert (
        "no incidents\n"
        in run(
            DATA / "midstream.pcap",
            "--bundle",
            make_bundle(tmp_path / "strict", **with_incidents(1.0)),
            "--format",
            "table",
        ).stdout
    )


def test_both_logs_are_complete_or_neither_is_there(tmp_path, finder):
    (tmp_path / "mmtt_incidents.log").mkdir()
    result = run(OFFICE, "--bundle", finder, "-o", tmp_path)
    assert result.exit_code == 1 and isinstance(result.exception, IsADirectoryError)
    assert {*os.listdir(tmp_path)} == {"mmtt_incidents.log"}


def test_logs_and_incidents_alone_are_two_things(tmp_path):
    for more, says in ((["--incidents"], "leave --incidents out"), (["--format", "table"], "-o writes logs")):
        result = run(OFFICE, "-o", tmp_path, *more)
        assert result.exit_code == 2 and says in result.stderr
    shutil.copy(OFFICE, tmp_path / "mmtt_incidents.log")
    result = run(tmp_path / "mmtt_incidents.log", "-o", tmp_path)
    assert result.exit_code == 2 and "would be written over" in result.stderr


def test_incidents_of_many_hosts_and_odd_names():
    row = IncidentRow(
        1_700_000_000_000_120, "IAbc", "opened", "10.0.0.1", None, None, None, 0.5, 3, 1_700_000_000_000_000,
        1_700_000_000_000_001, 10, 0, "-", ("C,1", "C2"), "a",
    )  # fmt: skip
    out = io.StringIO()
    TsvWriter(out, INCIDENTS, several=False).write(row)
    (found,) = body(out.getvalue())
    assert found[3:7] == ["10.0.0.1", "-", "-", "-"] and found[9] == "1700000000.000000"
    assert found[13:] == ["\\x2d", "C\\x2c1,C2"]
    out = io.StringIO()
    JsonWriter(out, INCIDENTS, several=True).write(row)
    assert json.loads(out.getvalue()) == {
        "ts": 1_700_000_000.00012, "id": "IAbc", "state": "opened", "orig_h": "10.0.0.1", "score": 0.5,
        "connections": 3, "first": 1_700_000_000.0, "last": 1_700_000_000.000001, "orig_bytes": 10,
        "resp_bytes": 0, "reason": "-", "uids": ["C,1", "C2"], "capture": "a",
    }  # fmt: skip
    assert table.who(row) == "10.0.0.1 → many"
    assert table.who(row._replace(orig_h=None, resp_h="fd00::1", resp_p=22)) == "many → [fd00::1]:22"
