"""Verdicts and incidents as events of EVE."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import DATA
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent import logs
from mmtt_agent.classify import eve
from mmtt_agent.classify.cli import classify
from mmtt_agent.classify.log import ROWS_WITH_COMMUNITY_ID, JsonWriter, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row
from mmtt_agent.community_id import NUMBERS, community_id

OFFICE = DATA / "office.pcap"
ROW = Row(1_700_000_000_000_120, "CAbc", "10.0.0.1", 4000, "fd00::1", 443, "tcp", 0, 32,
          "web", 0.97, "unknown", 1.0, True, 0.9123, "scan", "ok", None, "m@12345678", "IAbc",
          "a.pcap", "1:x")  # fmt: skip
SHORT = Row(1_700_000_000_000_000, "CDef", "10.0.0.1", 4000, "10.0.0.2", 53, "udp", 1, 2,
            None, None, None, None, None, None, None, "too_short", None, None, None, "")  # fmt: skip
INCIDENT = IncidentRow(1_700_000_000_000_120, "IAbc", "opened", "fe80::1", None, None, None, 0.5, 3,
                       1_700_000_000_000_000, 1_700_000_001_000_000, 10, 0, "why", ("C1", "C2"), "a.pcap")  # fmt: skip

#: Suricata's fields around the objects, and their types.
COMMON = {
    "timestamp": str, "in_iface": str, "event_type": str, "src_ip": str, "src_port": int, "dest_ip": str,
    "dest_port": int, "proto": str, "community_id": str, "pcap_filename": str,
}  # fmt: skip
TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+0000")


def run(*arguments, status: int = 0):
    result = CliRunner().invoke(classify, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("finder"), **with_incidents(0.0))


def test_a_verdict():
    assert eve.event(ROW) == {
        "timestamp": "2023-11-14T22:13:20.000120+0000",
        "event_type": "mmtt",
        "src_ip": "10.0.0.1",
        "src_port": 4000,
        "dest_ip": "fd00:0000:0000:0000:0000:0000:0000:0001",
        "dest_port": 443,
        "proto": "TCP",
        "community_id": "1:x",
        "mmtt": {
            "uid": "CAbc",
            "window": 0,
            "packets": 32,
            "service": "web",
            "service_score": 0.97,
            "application": "unknown",
            "application_score": 1.0,
            "malicious": True,
            "malicious_score": 0.9123,
            "malicious_kind": "scan",
            "status": "ok",
            "model": "m@12345678",
            "incident": "IAbc",
        },
        "pcap_filename": "a.pcap",
    }


def test_a_window_without_a_verdict_seen_on_an_interface():
    found = eve.event(SHORT, "eth0", seed=1)
    assert found["in_iface"] == "eth0" and "pcap_filename" not in found
    assert found["community_id"] == community_id(17, "10.0.0.1", 4000, "10.0.0.2", 53, 1)
    assert found["mmtt"] == {"uid": "CDef", "window": 1, "packets": 2, "status": "too_short"}


def test_incidents_leave_out_what_there_are_many_of():
    assert eve.incident_event(INCIDENT, "eth0") == {
        "timestamp": "2023-11-14T22:13:20.000120+0000",
        "in_iface": "eth0",
        "event_type": "mmtt_incident",
        "src_ip": "fe80:0000:0000:0000:0000:0000:0000:0001",
        "mmtt_incident": {
            "id": "IAbc",
            "state": "opened",
            "score": 0.5,
            "connections": 3,
            "first": "2023-11-14T22:13:20.000000+0000",
            "last": "2023-11-14T22:13:21.000000+0000",
            "orig_bytes": 10,
            "resp_bytes": 0,
            "reason": "why",
            "uids": ["C1", "C2"],
        },
        "pcap_filename": "a.pcap",
    }
    one = eve.incident_event(INCIDENT._replace(orig_h=None, resp_h="10.0.0.1", resp_p=22, kind="scan"))
    assert (one["dest_ip"], one["dest_port"], one["mmtt_incident"]["kind"]) == ("10.0.0.1", 22, "scan")
    assert "src_ip" not in one


@pytest.mark.parametrize("writer", [TsvWriter, JsonWriter])
@pytest.mark.parametrize("row", [ROW, SHORT])
def test_a_row_that_was_read_from_a_log_says_the_same(tmp_path, writer, row):
    out = io.StringIO()
    writing = writer(out, ROWS_WITH_COMMUNITY_ID, several=False)
    writing.write(row)
    writing.close()
    (tmp_path / "mmtt.log").write_text(out.getvalue())
    damaged = logs.Damaged()
    (read,) = logs.records(tmp_path / "mmtt.log", damaged)
    assert not damaged.rows and read.get("community_id") == row.community_id
    assert eve.verdict(read) == eve.verdict(row)
    assert [*eve.verdict(read)] == [*eve.verdict(row)], "in the same order"


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (951_827_696_000_001, "2000-02-29T12:34:56.000001+0000"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999+0000"),
        (253_402_300_800_000_000, "10000-01-01T00:00:00.000000+0000"),
    ],
)
def test_times_even_of_a_damaged_clock(ts, text):
    assert eve.timestamp(ts) == text


def test_names_of_captures_that_are_not_utf_8_are_spelled_out():
    lines = []
    writer = eve.EveWriter(lines.append)
    writer.write(ROW._replace(capture=os.fsdecode(b"a\xff.pcap")))
    writer.write(INCIDENT._replace(capture=os.fsdecode(b"a\xff.pcap")))
    writer.close()
    assert [json.loads(line)["pcap_filename"] for line in lines] == ["a\\xff.pcap"] * 2
    assert all(line.endswith(b"}\n") and line.isascii() for line in lines)


def check_common(found: dict) -> None:
    assert TIMESTAMP.fullmatch(found["timestamp"])
    assert found["event_type"] in ("mmtt", "mmtt_incident")
    for name, value in found.items():
        if name != found["event_type"]:
            assert type(value) is COMMON[name], name
    if path := os.environ.get("SURICATA_SCHEMA"):
        # Suricata's own, where somebody has it: etc/schema.json of its sources.
        import jsonschema

        around = {name: value for name, value in found.items() if name != found["event_type"]}
        jsonschema.validate(around, json.loads(Path(path).read_text()))


def test_a_capture_gives_an_event_for_each_row_and_each_incident(finder):
    found = events(run(OFFICE, "--bundle", finder, "--format", "eve").stdout)
    for each in found:
        check_common(each)
    rows = events(run(OFFICE, "--bundle", finder, "--format", "json").stdout)
    incidents = events(run(OFFICE, "--bundle", finder, "--format", "json", "--incidents").stdout)
    verdicts = [each for each in found if each["event_type"] == "mmtt"]
    assert [each["mmtt"] for each in verdicts] == [eve.verdict(row) for row in rows]
    told = [each["mmtt_incident"] for each in found if each["event_type"] == "mmtt_incident"]
    assert told and [each["id"] for each in told] == [row["id"] for row in incidents]
    for each in verdicts:
        ends = (each["src_ip"], each["src_port"], each["dest_ip"], each["dest_port"])
        assert each["community_id"] == community_id(NUMBERS[each["proto"].lower()], *ends)
        assert each["pcap_filename"] == str(OFFICE)
    alone = events(run(OFFICE, "--bundle", finder, "--format", "eve", "--incidents").stdout)
    assert alone == [each for each in found if each["event_type"] == "mmtt_incident"]


def test_a_directory_gets_one_file_with_both(tmp_path, finder):
    result = run(OFFICE, "--bundle", finder, "--format", "eve", "-o", tmp_path / "new")
    assert result.stdout == "" and os.listdir(tmp_path / "new") == ["eve.json"]
    text = (tmp_path / "new" / "eve.json").read_text()
    assert text == run(OFFICE, "--bundle", finder, "--format", "eve").stdout
    shutil.copy(OFFICE, tmp_path / "eve.json")
    result = run(tmp_path / "eve.json", "--format", "eve", "-o", tmp_path, status=2)
    assert "would be written over" in result.stderr


def test_a_file_is_added_to(tmp_path):
    path = tmp_path / "eve.json"
    for _ in range(2):
        assert run(OFFICE, "--to", path).stdout == ""
    one = run(OFFICE, "--format", "eve").stdout
    assert path.read_text() == one * 2


def test_a_socket_gets_them(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        run(OFFICE, "--to", f"unix:{tmp_path / 's'}", "--community-id-seed", 7)
        connection, _ = listener.accept()
        with connection, connection.makefile() as stream:
            assert stream.read() == run(OFFICE, "--format", "eve", "--community-id-seed", 7).stdout


def test_events_that_nobody_takes_are_said_and_fail(tmp_path):
    result = run(OFFICE, "--to", f"unix:{tmp_path / 's'}", status=1)
    lost = len(run(OFFICE, "--format", "eve").stdout.splitlines())
    assert f"mmtt: {lost} events could not be delivered: {tmp_path / 's'}: nobody listens there" in result.stderr


def test_a_full_disk_is_said(tmp_path):
    result = CliRunner().invoke(classify, [str(OFFICE), "--to", "/dev/full"])
    assert isinstance(result.exception, OSError) and result.exception.filename == "/dev/full"
    assert run(OFFICE, "--to", tmp_path / "eve.json", "--bundle", tmp_path, status=2).stderr
    assert not (tmp_path / "eve.json").exists(), "nothing is made where there is no bundle"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "x", "--format", "json"], "--to sends events of EVE"),
        (["--to", "x", "-o", "y"], "--to sends events of EVE"),
        (["--to", "/no/such/file"], "/no/such/file: No such file or directory"),
        (["--to", "ftp://x"], "no place that lines can go to"),
        (["--to", OFFICE], "is one of the captures"),
        (["--to", f"file:{OFFICE}"], "is one of the captures"),
        (["--community-id-seed", "65536"], "65536"),
    ],
)
def test_what_cannot_be_is_said(arguments, says):
    size = OFFICE.stat().st_size
    result = run(OFFICE, *arguments, status=2)
    assert says in result.stderr and result.stdout == "" and OFFICE.stat().st_size == size


def test_logs_have_a_column_for_community_ids_where_it_is_asked_for(tmp_path):
    for asked, seed in (["--community-id"], 0), (["--community-id-seed", "3"], 3):
        (tmp_path / "mmtt.log").write_text(run(OFFICE, OFFICE.parent / "midstream.pcap", *asked).stdout)
        fields = next(line for line in (tmp_path / "mmtt.log").read_text().splitlines() if line.startswith("#fields"))
        assert fields.split("\t")[-3:] == ["incident", "community_id", "capture"]
        damaged = logs.Damaged()
        rows = [*logs.records(tmp_path / "mmtt.log", damaged)]
        assert rows and not damaged.rows
        for row in rows:
            ends = (row["id.orig_h"], row["id.orig_p"], row["id.resp_h"], row["id.resp_p"])
            assert row["community_id"] == community_id(NUMBERS[row["proto"]], *ends, seed)
    rows = events(run(OFFICE, "--community-id", "--format", "json").stdout)
    assert all(row["community_id"].startswith("1:") for row in rows)
    assert "community_id" not in run(OFFICE, "--format", "json").stdout


def test_the_table_has_one_for_each_flow_that_is_asked_for(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    asked, plain = (run(OFFICE, *more, "--format", "table").stdout for more in (["--community-id"], []))
    assert "community id" in asked and "1:uMPRleNjR3QsLfn4Nnk5xi3Bn08=" in asked
    assert "community id" not in plain and "1:uMPR" not in plain
