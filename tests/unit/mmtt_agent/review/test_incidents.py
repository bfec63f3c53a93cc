"""`mmtt incidents` as its user sees it."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from places import DATA
from tiny_bundle import make_bundle, with_incidents

from mmtt_agent.classify.cli import classify
from mmtt_agent.classify.log import INCIDENT_COLUMNS, INCIDENTS, ROWS_WITH_COMMUNITY_ID, JsonWriter, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row
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


@pytest.mark.parametrize("writer", [TsvWriter, JsonWriter])
def test_flows_with_a_community_id(logs, writer):
    unset = dict.fromkeys(Row._fields)
    row = Row(**unset | {"ts": 1_500_000, "uid": "C3", "proto": "tcp", "status": "ok", "community_id": "1:abc="})
    with (logs / "current" / "mmtt.log").open("w") as out:
        writing = writer(out, ROWS_WITH_COMMUNITY_ID, several=False)
        writing.write(row)
        writing.close()
    (flow,) = json.loads(run("show", "IOpen").stdout)["flows"]
    assert flow == {"ts": 1.5, "uid": "C3", "proto": "tcp", "status": "ok", "community_id": "1:abc="}
    assert "C3" in run("show", "IOpen", "--format", "table").stdout


def mute(*arguments):
    os.makedirs("etc", exist_ok=True)
    return run("mute", "--file", "etc/muted.tsv", *arguments)


def muted() -> list[mutes.Mute]:
    return mutes.read(Path("etc/muted.tsv")).mutes


def put(*lines):
    os.makedirs("etc", exist_ok=True)
    content = mutes.Content(Path("etc/muted.tsv"))
    for each in lines:
        content.add(each)
    mutes.write(Path("etc/muted.tsv"), content)


def test_muting_adds_a_line_and_refuses_it_twice(here):
    done = mute("--orig", "10.0.0.0/8", "--resp", "10.1.0.2", "--port", "443/tcp", "--for", "30d", "--note", "back-up")
    assert done.exit_code == 0
    assert done.stdout.startswith("muted in etc/muted.tsv: 10.0.0.0/8 → 10.1.0.2 443/tcp, until 20")
    (line,) = muted()
    assert line[:4] == ("10.0.0.0/8", "10.1.0.2", "443/tcp", None) and line.note == "back-up"
    assert abs(line.until - time.time() - 30 * 86_400) < 100
    for arguments in ([], ["--note", "back-up"]):
        again = mute("--orig", "10.3.0.0/8", "--resp", "10.1.0.2/32", "--port", "443/tcp", *arguments)
        assert again.exit_code == 1 and "muted already, by line 1 of etc/muted.tsv" in again.stderr
    assert mute("--kind", "scan").exit_code == 0
    listed = mute("--list").stdout.splitlines()
    assert listed[0].startswith("  1  10.0.0.0/8 → 10.1.0.2 443/tcp, until ") and listed[0].endswith(": back-up")
    assert listed[1] == "  2  any host → any host, scan"
    assert os.listdir("etc") == ["muted.tsv"]


def test_another_span_or_note_takes_the_place_of_that_of_the_line(here):
    soon = NOW + 2 * HOUR
    put(mutes.Mute(kind="scan", until=soon, note="ours"), mutes.Mute(kind="b"), mutes.Mute(kind="scan"))
    assert mute("--kind", "scan", "--note", "theirs").exit_code == 0
    assert muted() == [mutes.Mute(kind="scan", until=soon, note="theirs"), mutes.Mute(kind="b")]
    done = mute("--kind", "scan", "--for", "3d")
    first = muted()[0]
    assert done.exit_code == 0 and ", until " in done.stdout and first.note == "theirs"
    assert abs(first.until - time.time() - 3 * 86_400) < 100


def test_what_is_over_makes_room(here):
    put(mutes.Mute(kind="scan", until=1.0), mutes.Mute(orig="10.0.0.1", until=1.0))
    assert mute("--list").stdout.count("(over)") == 2
    assert mute("--kind", "scan").exit_code == 0
    assert muted() == [mutes.Mute(orig="10.0.0.1", until=1.0), mutes.Mute(kind="scan")]


def test_an_incident_is_muted_by_its_id(logs):
    unclear = mute("IOpen")
    assert unclear.exit_code == 2 and "add --port 443/tcp" in unclear.stderr
    (logs / "current" / "mmtt.log").write_text('{"ts":1.5,"uid":"C3","proto":"tcp"}\n')
    assert mute("IOpen").exit_code == 0
    assert mute("IBack", "--port", "22/tcp", "--kind", "brute force", "--note", "mine").exit_code == 0
    assert muted() == [
        mutes.Mute("10.0.0.1", "10.1.0.2", "443/tcp", None, None, "incident IOpen"),
        mutes.Mute("fd00::1", "192.168.7.7", "22/tcp", "brute_force", None, "mine"),
    ]
    assert mute("IOld", "--port", "443/tcp").exit_code == 1, "the same hosts"


def test_a_damaged_row_elsewhere_keeps_nobody_from_muting(logs):
    (logs / "current" / "mmtt_incidents.2.log").write_text("{\n")
    done = mute("IOpen", "--port", "443/tcp")
    assert done.exit_code == 0 and "line 1: not JSON" in done.stderr and len(muted()) == 1


def test_beside_an_id_only_what_fits_it(logs):
    (logs / "current" / "mmtt.log").write_text('{"ts":1.5,"uid":"C3","proto":"tcp"}\n')
    for arguments, says in (
        (["IOpen", "--orig", "10.0.0.1"], "an ID says which hosts"),
        (["IOpen", "--resp", "10.0.0.0/8"], "an ID says which hosts"),
        (["IOpen", "--port", "80/tcp"], "IOpen is of port 443/tcp, not 80/tcp"),
        (["IOpen", "--port", "443/udp"], "IOpen is of port 443/tcp, not 443/udp"),
        (["IOpen", "--port", "443"], "port can't be '443'"),
        (["IBack", "--port", "23/tcp"], "IBack is of port 22, not 23/tcp"),
        (["IFan", "--kind", "scan", "--port", "22/tcp"], "IFan is of one host with many, on whatever port"),
    ):
        result = mute(*arguments)
        assert result.exit_code == 2 and says in result.stderr, arguments
    assert muted() == []
    assert mute("IOpen", "--port", "443/tcp").exit_code == 0


def test_an_incident_of_what_zeek_would_not_mute_is_told(here):
    log(here / "mmtt_incidents.log", [row("IOdd", "opened", 1, resp_h="host", resp_p=None)])
    refused = mute("IOdd")
    assert refused.exit_code == 2 and "resp can't be 'host'" in refused.stderr


def test_of_connections_that_came_to_nothing_conn_log_has_the_protocol(logs):
    ends = {"id.orig_h": "fd00::1", "id.resp_h": "192.168.7.7", "proto": "tcp", "conn_state": "REJ"}
    lines = [{"ts": at, "uid": f"C{at}", "id.resp_p": port, **ends} for at in range(14, 0, -1) for port in (22, 23)]
    (logs / "current" / "conn.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(run("show", "IBack").stdout)
    assert [each["uid"] for each in found["connections"]] == [f"C{at}" for at in range(1, 11)]
    assert "the first connections, of conn.log" in run("show", "IBack", "--format", "table").stdout
    assert mute("IBack").exit_code == 0
    assert muted()[0][:3] == ("fd00::1", "192.168.7.7", "22/tcp")


def test_an_incident_of_hosts_that_zeek_could_not_name(here):
    log(here / "mmtt_incidents.log", [row("INobody", "opened", 1, orig_h=None, resp_h=None, resp_p=None, uids=())])
    (here / "conn.log").write_text('{"ts":1,"uid":"C1"}\n')
    assert json.loads(run("show", "INobody").stdout)["connections"] == []
    refused = mute("INobody")
    assert refused.exit_code == 2 and "names no host" in refused.stderr


def test_of_a_host_with_many_that_host_and_the_kind_are_muted(logs):
    of_responder = row("IInto", "opened", 1, orig_h=None, resp_p=None, kind="denial_of_service")
    log(logs / "current" / "mmtt_incidents.2.log", [row("ISweep", "opened", 1, resp_h=None, resp_p=None), of_responder])
    done = mute("ISweep")
    assert (done.exit_code, done.stdout) == (0, "muted in etc/muted.tsv: 10.0.0.1 → any host, scan\n")
    assert mute("IInto", "--for", "3d").exit_code == 0
    assert mute("IFan", "--kind", "brute force").exit_code == 0
    assert [each.what for each in muted()] == [
        ("10.0.0.1", None, None, "scan"),
        (None, "10.1.0.2", None, "denial_of_service"),
        ("10.0.0.1", None, None, "brute_force"),
    ]


def test_a_host_with_many_is_not_muted_by_accident(logs):
    refused = mute("IFan")
    assert refused.exit_code == 2 and refused.stderr.endswith(
        "say which with --kind, or mute all incidents of that host, without ID: --orig 10.0.0.1\n"
    )
    assert os.listdir("etc") == []


def test_unmuting(here):
    lines = [mutes.Mute(kind=kind) for kind in ("a", "b", "c", "d")]
    put(*lines)
    done = run("unmute", "--file", "etc/muted.tsv", 2, 4, 2)
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [f"no longer muted in etc/muted.tsv: any host → any host, {kind}" for kind in "bd"],
    )
    assert muted() == [lines[0], lines[2]]
    assert run("unmute", "--file", "etc/muted.tsv", 3).exit_code == 2
    assert run("unmute", "--file", "etc/muted.tsv").exit_code == 2


def test_a_line_that_cant_be_read_is_told_and_kept_and_the_others_are_shown_and_removed(here):
    put(mutes.Mute(kind="a"), mutes.Mute(kind="b"))
    path = here / "etc" / "muted.tsv"
    head, first, second = path.read_text().splitlines()
    spoilt = "host\t-\t-\t-\t-\t-"
    path.write_text(f"{head}\n{first}\n{spoilt}\n{second}")
    told = "etc/muted.tsv:3: orig can't be 'host'; it is an address or a network such as 10.0.0.0/8; correct the line\n"
    listed = mute("--list")
    assert (listed.exit_code, listed.stderr) == (1, f"mmtt: {told}")
    assert listed.stdout.splitlines() == ["  1  any host → any host, a", "  2  any host → any host, b"]
    done = run("unmute", "--file", "etc/muted.tsv", 2)
    assert (done.exit_code, done.stderr) == (0, f"mmtt: {here.resolve()}/{told}")
    assert path.read_text().splitlines() == [head, first, spoilt]
    assert mute("--kind", "c").exit_code == 0
    assert path.read_text().splitlines() == [head, first, spoilt, "-\t-\t-\tc\t-\t-"]


def test_a_file_of_something_else_is_left_alone(here):
    os.mkdir("etc")
    (here / "etc" / "muted.tsv").write_text("nonsense\n")
    for done, status in (
        (mute("--kind", "scan"), 1),
        (mute("--list"), 1),
        (run("unmute", "--file", "etc/muted.tsv", 1), 2),
    ):
        assert done.exit_code == status and "etc/muted.tsv:1: " in done.stderr
    assert (here / "etc" / "muted.tsv").read_text() == "nonsense\n"


def test_what_is_no_file_is_told_in_a_line_and_stays(here):
    os.mkdir("etc")
    for place, says in (
        ("/dev/full", "/dev/full: not a regular file"),
        ("etc", "etc: not a regular file"),
        ("gone/muted.tsv", "there is no such directory; make it first: mkdir -p "),
    ):
        for arguments in (["mute", "--kind", "scan"], ["unmute", 1]):
            result = run(*arguments, "--file", place)
            assert result.exit_code == 1 and says in result.stderr and result.stderr.count("\n") == 1
    assert "/dev/zero: not a regular file" in run("mute", "--list", "--file", "/dev/zero").stderr
    assert run("list", "/dev/zero").stderr == "mmtt: /dev/zero: neither a file nor a pipe\n"
    assert os.path.isdir("etc") and not os.path.isfile("/dev/full") and not os.path.exists("gone")


def test_usage_of_mute(here):
    for arguments, says in (
        ([], "would mute everything"),
        (["--list", "--kind", "scan"], "--list changes nothing"),
        (["--port", "443"], "port can't be '443'"),
        (["--kind", "scan", "--for", "3y"], "'3y' is not one such as"),
        (["--kind", "scan", "--for", "0d"], "'0d' is no time at all"),
        (["--kind", "scan", "--for", "999999w"], "longer than the file can say"),
        (["--orig", "0.0.0.0/0"], "would mute everything"),
        (["--resp", "::/0", "--for", "1d"], "would mute everything"),
        (["--orig", "fe80::1%eth0"], "Zeek knows no scopes"),
        (["--port", "0/tcp"], "nobody answers there"),
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
