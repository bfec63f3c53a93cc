"""`mmtt incidents` as its user sees it."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner
from places import DATA
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent.classify.cli import classify
from mmtt_agent.classify.log import INCIDENT_COLUMNS, INCIDENTS, JsonWriter, TsvWriter
from mmtt_agent.classify.rows import IncidentRow
from mmtt_agent.review import cli, mutes

NOW = int(time.time())
HOUR = 3600


def row(id: str, state: str, at: float, **changes) -> IncidentRow:
    """``at``: hours ago."""
    ts = int((NOW - at * HOUR) * 1e6)
    made = IncidentRow(
        ts, id, state, "10.0.0.1", "10.1.0.2", 443, "scan", 0.91, 4, ts - 10_000_000, ts, 100, 2000, "4 like ones",
        ("C1", "C2"), "",
    )  # fmt: skip
    return made._replace(**changes)


OLD = [row("IOld", "opened", 50), row("IOld", "closed", 48)]
OPEN = [row("IOpen", "opened", 3), row("IOpen", "grown", 2, score=0.95, connections=16, uids=("C3",))]
FAN = [row("IFan", "opened", 1, resp_h=None, resp_p=None, kind=None)]
NEEDLESS = [row("IBack", "opened", 4, orig_h="fd00::1", resp_h="192.168.7.7", resp_p=22, kind="brute_force", uids=())]


def log(path, rows, writer=TsvWriter):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as out:
        made = writer(out, INCIDENTS, several=False)
        for each in rows:
            made.write(each)
        made.close()
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path


@pytest.fixture
def logs(here):
    """As zeekctl keeps them: rotated by day, and those of now in JSON, to which the site has changed."""
    log(here / "2026-11-25" / "mmtt_incidents.00:00:00-00:00:00.log", OLD)
    log(here / "current" / "mmtt_incidents.log", [*OPEN, *FAN, *NEEDLESS], JsonWriter)
    return here


def run(*arguments):
    return CliRunner().invoke(cli.incidents, [str(each) for each in arguments])


def ids(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_the_latest_state_of_each_incident_newest_first(logs):
    result = run("list", "--format", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ids(result.stdout) == ["IFan", "IOpen", "IBack", "IOld"]
    assert json.loads(result.stdout.splitlines()[1])["connections"] == 16
    lines = run("list").stdout.splitlines()
    assert lines[6].split("\t")[1:] == [name for name, _ in INCIDENT_COLUMNS]
    assert [line.split("\t")[1:3] for line in lines if line[0] != "#"] == [
        ["IFan", "opened"], ["IOpen", "grown"], ["IBack", "opened"], ["IOld", "closed"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--open"], ["IFan", "IOpen", "IBack"]),
        (["--kind", "brute force"], ["IBack"]),
        (["--kind", "scan", "--kind", "brute_force"], ["IOpen", "IBack", "IOld"]),
        (["--host", "10.1.0.0/16"], ["IOpen", "IOld"]),
        (["--host", "10.0.0.1"], ["IFan", "IOpen", "IOld"]),
        (["--host", "fd00::/8", "--host", "10.1.0.2"], ["IOpen", "IBack", "IOld"]),
        (["--since", "24h"], ["IFan", "IOpen", "IBack"]),
        (["--since", "90m"], ["IFan"]),
        (["--since", "2020-01-01"], ["IFan", "IOpen", "IBack", "IOld"]),
        (["--since", "2020-01-01T00:00:00Z", "--open", "--kind", "scan"], ["IOpen"]),
    ],
)
def test_those_that_are_asked_for(logs, options, chosen):
    assert ids(run("list", "--format", "json", *options).stdout) == chosen


def test_a_table_for_people(logs):
    text = run("list", "--format", "table", "--open").stdout
    for part in (
        "IOpen",
        "10.0.0.1 → 10.1.0.2:443",
        "10.0.0.1 → many",
        "fd00::1 → 192.168.7.7:22",
        "brute force",
        "grown",
    ):
        assert part in text
    assert "3 of 4 incidents" in text and "IOld" not in text


def test_names_that_a_terminal_would_obey_are_escaped(here):
    log(here / "mmtt_incidents.log", [row("I\x1b[2J", "opened", 1, reason="\x1b[31mred", kind="\x07")])
    for arguments in (["list", "--format", "table"], ["show", "I\x1b[2J", "--format", "table"]):
        text = run(*arguments).stdout
        assert "\x1b" not in text and "\x07" not in text and "\\x1b[31mred" in text


def test_a_log_that_cant_be_read_is_told_and_the_others_are(logs):
    (logs / "current" / "mmtt_incidents.1.log").write_text("hello\n")
    (logs / "current" / "mmtt_incidents.2.log").write_text('{"ts":1.0,"uid":"C"}\n')
    (logs / "current" / "mmtt_incidents.3.log").write_text(
        json.dumps({"ts": 1, "id": "I", "state": "gone", "score": 1, "connections": 1, "first": 1, "last": 1}) + "\n"
    )
    result = run("list", "--format", "json")
    assert result.exit_code == 1 and len(ids(result.stdout)) == 4
    told = result.stderr.splitlines()
    assert len(told) == 3
    for line, says in zip(
        told, ("line 1: no #fields", "it has no id; is it mmtt_incidents.log?", "its state is 'gone'"), strict=True
    ):
        assert says in line


def test_a_damaged_row_costs_that_row_alone(logs):
    path = logs / "current" / "mmtt_incidents.log"
    lines = path.read_text().splitlines()
    listy = json.dumps({**json.loads(lines[0]), "kind": ["scan"]})
    path.write_text("\n".join([lines[0], lines[1][:40], listy, *lines[1:]]) + "\n")
    result = run("list", "--format", "json")
    assert ids(result.stdout) == ["IFan", "IOpen", "IBack", "IOld"]
    assert json.loads(result.stdout.splitlines()[1])["connections"] == 16
    says = "2 rows could not be read, and are left out; the first, line 2: not JSON"
    assert (result.exit_code, result.stderr) == (1, f"mmtt: current/mmtt_incidents.log: {says}\n")
    (logs / "current" / "mmtt.log").write_text('{"uid":"C3"\n{"ts":1.5,"uid":"C3","proto":"tcp"}\n')
    result = run("show", "IOpen")
    assert result.exit_code == 1 and [each["uid"] for each in json.loads(result.stdout)["flows"]] == ["C3"]
    told = result.stderr.splitlines()
    assert len(told) == 2 and "mmtt.log: a row could not be read, and is left out: line 1: not JSON" in told[0]
    assert "no incident INone" in run("show", "INone").stderr and says in run("show", "INone").stderr


def test_a_table_of_many_has_the_newest_and_says_how_many_more_there_are(here):
    log(here / "mmtt_incidents.log", [row(f"I{at:03}", "opened", at) for at in range(60)])
    text = run("list", "--format", "table").stdout
    assert text.count("4 like ones") == 50 and "I049" in text and "I050" not in text
    assert text.splitlines()[-2:] == ["60 incidents", "and 10 of them more, which are older: -n 0 shows all"]
    text = run("list", "--format", "table", "--since", "5h", "-n", 2).stdout
    assert text.splitlines()[-2].startswith("5 of 60 incidents") and "and 3 of them more" in text
    text = run("list", "--format", "table", "--limit", 0).stdout
    assert text.count("4 like ones") == 60 and "more" not in text
    piped = run("list", "--format", "json")
    assert len(ids(piped.stdout)) == 60 and piped.stderr == ""
    piped = run("list", "--format", "json", "-n", 3)
    assert (ids(piped.stdout), piped.stderr) == (["I000", "I001", "I002"], "mmtt: 57 more are older; -n 0 has all\n")
    assert piped.exit_code == 0 and run("list", "-n", -1).exit_code == 2


def test_a_kind_that_no_incident_has_is_told_with_those_that_there_are(logs):
    result = run("list", "--format", "json", "--kind", "scan", "--kind", "beacon")
    assert (result.exit_code, ids(result.stdout)) == (0, ["IOpen", "IOld"])
    assert result.stderr == "mmtt: no incident is of the kind beacon; there are: brute_force, scan\n"
    log(logs / "unknown.log", FAN)
    assert "there are: none whose kind is known" in run("list", "unknown.log", "--kind", "scan").stderr


def test_where_there_is_no_log(here, monkeypatch):
    monkeypatch.setattr("mmtt_agent.zeek.find", lambda: None)
    result = run("list")
    assert (result.exit_code, result.stderr) == (
        2, "Error: no mmtt_incidents.log in the directory here; name one, or a directory with some\n",
    )  # fmt: skip
    assert run("list", "gone").stderr == "Error: gone: No such file or directory\n"
    zeek = here / "zeek" / "bin" / "zeek"
    log(here / "zeek" / "logs" / "current" / "mmtt_incidents.log", OPEN)
    monkeypatch.setattr("mmtt_agent.zeek.find", lambda: zeek)
    assert ids(run("list", "--format", "json").stdout) == ["IOpen"]


def test_wrong_usage_is_told(logs):
    for arguments, says in (
        (["list", "--since", "soon"], "'soon' is neither a span such as 90m, 24h, 7d or 4w nor a date"),
        (["list", "--since", "9999999w"], "nor a date or time such as 2026-11-27"),
        (["list", "--since", "3 d"], "nor a date or time such as 2026-11-27"),
        (["list", "--host", "here"], "'here' does not appear to be"),
        (["show", "INone"], "no incident INone in these logs"),
        (["mute", "INone", "--file", "m.tsv"], "no incident INone in these logs"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and says in result.stderr, arguments


def test_one_incident_and_its_strongest_flows(here):
    made = make_bundle(here / "bundle", **with_incidents(0.0))
    done = CliRunner().invoke(classify, [str(DATA / "lab.pcap"), "--bundle", str(made), "-o", str(here)])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in run("list", "--format", "json").stdout.splitlines()]
    one = next(each for each in rows if len(each["uids"]) > 1)
    found = json.loads(run("show", one["id"]).stdout)
    assert [each["state"] for each in found["rows"]][:: len(found["rows"]) - 1] == ["opened", "closed"]
    assert found["rows"][-1] == one
    assert {each["uid"] for each in found["flows"]} >= {*one["uids"]} and found["connections"] == []
    # Zeek's conn.log beside it.
    (here / "conn.log").write_text(
        json.dumps({"ts": 1.5, "uid": one["uids"][0], "proto": "tcp", "conn_state": "SF", "duration": 2.25}) + "\n"
        + json.dumps({"ts": 1.5, "uid": "Cother", "conn_state": "S0"}) + "\n"
    )  # fmt: skip
    found = json.loads(run("show", one["id"]).stdout)
    assert [each["conn_state"] for each in found["connections"]] == ["SF"]
    text = run("show", one["id"], "--format", "table").stdout
    for part in (
        one["reason"],
        "what was said of it",
        "strongest flows, of mmtt.log",
        "of conn.log",
        "2.25",
        *one["uids"],
    ):
        assert part in text
    assert "S0" not in text


def test_an_incident_without_the_logs_of_its_flows(logs):
    text = run("show", "IOpen", "--format", "table").stdout
    assert "strongest flows: C3, C1, C2" in text and "not beside mmtt_incidents.log" in text
    assert json.loads(run("show", "IOpen").stdout)["flows"] == []


def mute(*arguments):
    return run("mute", "--file", "etc/muted.tsv", *arguments)


def test_muting_adds_a_line_and_refuses_it_twice(here):
    done = mute("--orig", "10.0.0.0/8", "--resp", "10.1.0.2", "--port", "443/tcp", "--for", "30d", "--note", "back-up")
    assert done.exit_code == 0 and done.stdout.startswith("muted: 10.0.0.0/8 → 10.1.0.2 443/tcp, until 20")
    (line,) = mutes.read(here / "etc" / "muted.tsv")
    assert line[:4] == ("10.0.0.0/8", "10.1.0.2", "443/tcp", None) and line.note == "back-up"
    assert abs(line.until - time.time() - 30 * 86_400) < 100
    again = mute("--orig", "10.3.0.0/8", "--resp", "10.1.0.2/32", "--port", "443/tcp")
    assert again.exit_code == 1 and "muted already, by line 1 of etc/muted.tsv" in again.stderr
    assert mute("--kind", "scan").exit_code == 0
    listed = mute("--list").stdout.splitlines()
    assert listed[0].startswith("  1  10.0.0.0/8 → 10.1.0.2 443/tcp, until ") and listed[0].endswith(": back-up")
    assert listed[1] == "  2  any host → any host, scan"
    assert os.listdir("etc") == ["muted.tsv"]


def test_what_is_over_makes_room(here):
    os.mkdir("etc")
    mutes.write(
        here / "etc" / "muted.tsv", [mutes.Mute(kind="scan", until=1.0), mutes.Mute(orig="10.0.0.1", until=1.0)]
    )
    assert mute("--list").stdout.count("(over)") == 2
    assert mute("--kind", "scan").exit_code == 0
    assert mutes.read(here / "etc" / "muted.tsv") == [mutes.Mute(orig="10.0.0.1", until=1.0), mutes.Mute(kind="scan")]


def test_an_incident_is_muted_by_its_id(logs):
    unclear = mute("IOpen")
    assert unclear.exit_code == 2 and "add --port 443/tcp" in unclear.stderr
    (logs / "current" / "mmtt.log").write_text('{"ts":1.5,"uid":"C3","proto":"tcp"}\n')
    assert mute("IOpen").exit_code == 0
    assert mute("IBack", "--port", "22/tcp", "--kind", "brute force", "--note", "mine").exit_code == 0
    assert mutes.read(logs / "etc" / "muted.tsv") == [
        mutes.Mute("10.0.0.1", "10.1.0.2", "443/tcp", None, None, "incident IOpen"),
        mutes.Mute("fd00::1", "192.168.7.7", "22/tcp", "brute_force", None, "mine"),
    ]
    assert mute("IOld", "--port", "443/tcp").exit_code == 1, "the same hosts"


def test_of_connections_that_came_to_nothing_conn_log_has_the_protocol(logs):
    ends = {"id.orig_h": "fd00::1", "id.resp_h": "192.168.7.7", "proto": "tcp", "conn_state": "REJ"}
    lines = [{"ts": at, "uid": f"C{at}", "id.resp_p": port, **ends} for at in range(14, 0, -1) for port in (22, 23)]
    (logs / "current" / "conn.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(run("show", "IBack").stdout)
    assert [each["uid"] for each in found["connections"]] == [f"C{at}" for at in range(1, 11)]
    assert "the first connections, of conn.log" in run("show", "IBack", "--format", "table").stdout
    assert mute("IBack").exit_code == 0
    assert mutes.read(logs / "etc" / "muted.tsv")[0][:3] == ("fd00::1", "192.168.7.7", "22/tcp")


def test_an_incident_of_hosts_that_zeek_could_not_name(here):
    log(here / "mmtt_incidents.log", [row("INobody", "opened", 1, orig_h=None, resp_h=None, resp_p=None, uids=())])
    (here / "conn.log").write_text('{"ts":1,"uid":"C1"}\n')
    assert json.loads(run("show", "INobody").stdout)["connections"] == []
    refused = mute("INobody")
    assert refused.exit_code == 2 and "names no host" in refused.stderr


def test_a_host_with_many_is_not_muted_by_accident(logs):
    refused = mute("IFan")
    assert refused.exit_code == 2 and refused.stderr.endswith("to mute all incidents of that host: --orig 10.0.0.1\n")
    assert not (logs / "etc").exists()


def test_unmuting(here):
    os.mkdir("etc")
    lines = [mutes.Mute(kind=kind) for kind in ("a", "b", "c", "d")]
    mutes.write(here / "etc" / "muted.tsv", lines)
    done = run("unmute", "--file", "etc/muted.tsv", 2, 4, 2)
    assert (done.exit_code, done.stdout) == (
        0, "no longer muted: any host → any host, b\nno longer muted: any host → any host, d\n",
    )  # fmt: skip
    assert mutes.read(here / "etc" / "muted.tsv") == [lines[0], lines[2]]
    assert run("unmute", "--file", "etc/muted.tsv", 3).exit_code == 2
    assert run("unmute", "--file", "etc/muted.tsv").exit_code == 2


def test_a_file_with_a_line_that_cant_be_read_is_left_alone(here):
    os.mkdir("etc")
    (here / "etc" / "muted.tsv").write_text("nonsense\n")
    for done in (mute("--kind", "scan"), mute("--list"), run("unmute", "--file", "etc/muted.tsv", 1)):
        assert done.exit_code == 1 and "etc/muted.tsv:1: " in done.stderr
    assert (here / "etc" / "muted.tsv").read_text() == "nonsense\n"


def test_usage_of_mute(here):
    for arguments, says in (
        ([], "would mute everything"),
        (["--list", "--kind", "scan"], "--list changes nothing"),
        (["--port", "443"], "port can't be '443'"),
        (["--kind", "scan", "--for", "3y"], "'3y' is not one such as"),
        (["--kind", "scan", "--note", "a\tb"], "a note is one line"),
    ):
        result = mute(*arguments)
        assert result.exit_code == 2 and says in result.stderr, arguments
    assert not (here / "etc" / "muted.tsv").exists()


def test_the_same_log_by_two_ways_counts_once(logs):
    shutil.copy(logs / "current" / "mmtt_incidents.log", logs / "copy.log")
    result = run("list", "current", "copy.log", "--format", "json")
    assert ids(result.stdout) == ["IFan", "IOpen", "IBack"]
    rows = json.loads(run("show", "IOpen", "--log", "copy.log", "--log", ".").stdout)["rows"]
    assert [each["state"] for each in rows] == ["opened", "grown"]
