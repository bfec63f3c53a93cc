"""`mmtt reputation` as its user sees it: who is listed, why, for how long, and what is written."""

from __future__ import annotations

import gzip
import json
import socket
import stat
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmtt_agent.classify.eve import EveWriter
from mmtt_agent.classify.log import INCIDENTS, ROWS, JsonWriter, TsvWriter
from mmtt_agent.classify.row import IncidentRow, Row
from mmtt_agent.program import program

BAD, SHARED, SIX = "45.33.32.156", "104.16.132.229", "2606:4700::6810:84e5"
DAY = 86_400_000_000
NOW = int(time.time() * 1e6)


def row(number: int, responder: str = BAD, malicious: bool = True, ago: float = 1.0, **changes) -> Row:
    made = Row(
        NOW - int(ago * DAY) + number, f"CUid{number}", "10.0.0.1", 4000 + number, responder, 443, "tcp", 0, 32,
        "web", 0.9, "unknown", 0.1, malicious, 0.99 if malicious else 0.02,
        "command_and_control" if malicious else None, "ok", None, "m@12345678", None, "",
    )  # fmt: skip
    return made._replace(**changes)


def incident(id: str = "IAbc", responder: str | None = BAD, ago: float = 1.0, **changes) -> IncidentRow:
    ts = NOW - int(ago * DAY)
    made = IncidentRow(
        ts, id, "opened", "10.0.0.1", responder, 443, "command_and_control", 0.93, 12, ts - 5_000_000, ts, 100, 200,
        "12 like connections, 60 s apart", ("CUid1",), "",
    )  # fmt: skip
    return made._replace(**changes)


def write(path: Path, rows: list, form: str = "tsv") -> Path:
    log = INCIDENTS if rows and isinstance(rows[0], IncidentRow) else ROWS
    with path.open("w") as out:
        if form == "eve":
            writer = EveWriter(lambda line: out.write(line.decode()))
        else:
            writer = (TsvWriter if form == "tsv" else JsonWriter)(out, log, several=False)
        for each in rows:
            writer.write(each)
        writer.close()
    return path


def run(*arguments):
    return CliRunner().invoke(program, ["reputation", *map(str, arguments)])


def listed(directory: Path) -> list[str]:
    return [
        json.loads(line)["address"] for line in run("list", "-o", directory, "--format", "json").stdout.splitlines()
    ]


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize("form", ["tsv", "json", "eve"])
def test_a_responder_of_flows_that_look_malicious_is_listed(tmp_path, out, form):
    log = write(tmp_path / "mmtt.log", [row(n) for n in range(4)] + [row(9, SHARED, malicious=False)], form)
    done = run("update", log, "-o", out)
    assert done.exit_code == 0 and done.stdout == f"1 address listed in {out}: 1 new, 0 gone\n", done.output
    assert (out / "mmtt-categories.txt").read_text().startswith("58,mmtt,")
    assert (out / "mmtt-iprep.list").read_text() == f"{BAD},58,126\n"
    assert (out / "mmtt-responders.lst").read_text() == f"{BAD}\n"
    for rules in ("mmtt-iprep.rules", "mmtt-dataset.rules"):
        (rule,) = [line for line in (out / rules).read_text().splitlines() if not line.startswith("#")]
        assert rule.startswith("alert ip any any -> any any"), "it blocks nothing"
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o644}
    (line,) = run("list", "-o", out).stdout.splitlines()[1:]
    fields = line.split("\t")
    assert fields[:4] == [BAD, "0.9900", "command_and_control", "4"] and "CUid3" in fields[5]
    assert fields[-1] == "4 flows that look malicious (4 of 4 verdicts)"


@pytest.mark.parametrize("form", ["tsv", "json", "eve"])
def test_the_responder_of_an_incident_is_listed_by_its_latest_row(tmp_path, out, form):
    rows = [incident(), incident(state="grown", score=0.97, connections=60, ago=0.5), incident("INoOne", None)]
    done = run("update", write(tmp_path / "mmtt_incidents.log", rows, form), "-o", out)
    assert done.exit_code == 0, done.output
    (entry,) = map(json.loads, run("list", "-o", out, "--format", "json").stdout.splitlines())
    assert (entry["address"], entry["score"], entry["incidents"]) == (BAD, 0.97, ["IAbc"])
    assert entry["why"] == "incident IAbc: 12 like connections, 60 s apart"
    assert (out / "mmtt-iprep.list").read_text() == f"{BAD},58,123\n"


def test_a_few_false_alarms_list_nobody(tmp_path, out):
    few = [row(n, "45.33.32.1") for n in range(2)]
    # One connection with many windows is one flow.
    windows = [row(5, "45.33.32.2", window=n) for n in range(4)]
    # A server of many harmless flows has some false alarms by and by.
    shared = [row(n, SHARED, malicious=n < 10) for n in range(200)]
    log = write(tmp_path / "mmtt.log", few + windows + shared)
    small = write(tmp_path / "mmtt_incidents.log", [incident("ISmall", "45.33.32.3", connections=2)])
    assert run("update", log, small, "-o", out).stdout.startswith("0 addresses")
    assert run("update", log, "-o", out, "--min-flows", 1, "--min-share", 0.01).exit_code == 0
    assert sorted(listed(out)) == sorted([SHARED, "45.33.32.1", "45.33.32.2"])
    run("update", log, "-o", out, "--min-flows", 1, "--min-share", 0.01, "--min-score", 0.995)
    assert listed(out) == []


def test_who_suffers_is_not_listed(tmp_path, out):
    scanned = [row(n, malicious_kind="scan") for n in range(9)]
    unknown = [row(n, SHARED, malicious_kind=None) for n in range(9)]
    log = write(tmp_path / "mmtt.log", scanned + unknown)
    run("update", log, "-o", out)
    assert listed(out) == [SHARED]
    run("update", log, "-o", out, "--kind", "scan")
    assert listed(out) == [BAD]


def test_exempt_and_private_addresses_are_not_listed(tmp_path, out):
    hosts = (BAD, SHARED, SIX, "10.1.2.3", "fd00::5", "224.0.0.251", "192.168.1.1")
    log = write(tmp_path / "mmtt.log", [row(n, host) for host in hosts for n in range(4)])
    run("update", log, "-o", out)
    assert sorted(listed(out)) == sorted([BAD, SHARED, SIX])
    run("update", log, "-o", out, "--exempt", "104.16.0.0/13", "--exempt", SIX, "--private")
    assert sorted(listed(out)) == sorted([BAD, "10.1.2.3", "fd00::5", "192.168.1.1"])
    assert run("update", log, "-o", out, "--exempt", "104.16").exit_code == 2


def test_entries_age_out_and_what_is_rotated_away_stays_until_then(tmp_path, out):
    log = tmp_path / "mmtt.log"
    write(log, [row(n, ago=6) for n in range(4)])
    run("update", log, "-o", out)
    write(log, [row(n, SHARED, malicious=False, ago=1) for n in range(4)])
    assert run("update", log, "-o", out).stdout.startswith("1 address listed"), "its rows are gone, not too old"
    assert listed(out) == [BAD]
    done = run("update", log, "-o", out, "--max-age", 5)
    assert "0 new, 1 gone" in done.stdout and listed(out) == []


def test_who_turns_out_to_be_harmless_is_listed_no_longer(tmp_path, out):
    log = write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    run("update", log, "-o", out)
    write(log, [row(n) for n in range(4)] + [row(n, malicious=False) for n in range(10, 30)])
    assert "1 gone" in run("update", log, "-o", out).stdout


def test_the_number_is_bounded_and_incidents_and_the_surest_come_first(tmp_path, out):
    rows = [row(n, f"45.33.32.{host}", malicious_score=0.95 + host / 10_000) for host in range(1, 30) for n in range(3)]
    write(tmp_path / "mmtt.log", rows)
    write(tmp_path / "mmtt_incidents.log", [incident()])
    done = run("update", tmp_path, "-o", out, "--max-entries", 3)
    assert listed(out) == [BAD, "45.33.32.29", "45.33.32.28"]
    assert "27 more are not listed: --max-entries 3" in done.stderr


def test_a_directory_has_rotated_and_packed_logs_too(tmp_path, out):
    logs = tmp_path / "logs"
    (logs / "2026-11-27").mkdir(parents=True)
    old = write(tmp_path / "x", [row(n) for n in range(2)])
    (logs / "2026-11-27" / "mmtt.00:00:00-01:00:00.log.gz").write_bytes(gzip.compress(old.read_bytes()))
    write(logs / "mmtt.log", [row(n) for n in range(2, 4)])
    run("update", logs, "-o", out)
    assert listed(out) == [BAD]
    assert "4 flows" in run("list", "-o", out).stdout


def test_files_are_written_only_if_they_change(tmp_path, out):
    log = write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    run("update", log, "-o", out)
    before = {path.name: path.stat().st_ino for path in out.iterdir()}
    assert "0 new, 0 gone" in run("update", log, "-o", out).stdout
    assert {path.name: path.stat().st_ino for path in out.iterdir()} == before


def test_what_cannot_be_read_is_said_and_the_rest_counts(tmp_path, out):
    write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    with (tmp_path / "mmtt.log").open("a") as log:
        log.write("no\tsuch row T\topened\n")
    (tmp_path / "mmtt-1.log.gz").write_bytes(gzip.compress((tmp_path / "mmtt.log").read_bytes())[:-20])
    done = run("update", tmp_path, "-o", out)
    assert done.exit_code == 1 and "mmtt-1.log.gz: damaged" in done.stderr and "could not be read" in done.stderr
    assert listed(out) == [BAD]
    (out / "mmtt-reputation.json").write_text("{")
    done = run("update", tmp_path, "-o", out)
    assert done.exit_code == 1 and "mmtt-reputation.json: damaged; remove it to begin anew" in done.stderr
    assert run("list", "-o", out).exit_code == 1


def test_wrong_usage(tmp_path, out):
    (tmp_path / "empty").mkdir()
    for arguments, says in (
        ((tmp_path / "empty",), "no mmtt.log or mmtt_incidents.log in there"),
        ((tmp_path / "gone.log",), "No such file"),
        ((tmp_path / "empty", "--reload"), "--reload goes with --suricata"),
        ((), "Missing argument"),
        (
            (tmp_path / "empty", "--kind", "foo"),
            "--kind foo: no such kind; there are brute_force, command_and_control,",
        ),
    ):
        done = run("update", "-o", out, *arguments)
        assert done.exit_code == 2 and says in done.output
    assert not out.exists(), "nothing is written then"
    none = run("list", "-o", out)
    assert none.exit_code == 1 and f"{out}/mmtt-reputation.json: is not there; name the -o DIR" in none.stderr


def test_a_kind_may_be_written_as_it_is_said(tmp_path, out):
    log = write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    run("update", log, "-o", out, "--kind", "command-and-control")
    assert listed(out) == [BAD]
    run("update", log, "-o", out, "--kind", "scan")
    assert run("list", "-o", out, "--format", "table").stdout.strip() == "nobody is listed"


@pytest.mark.parametrize(
    "content",
    [
        b"root:x:0:0:root:/root:/bin/bash\n" * 3,
        b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00" + bytes(40),
        b'{"timestamp":"2026-11-28T04:13:52.123456+0000","event_type":"flow","dest_ip":"45.33.32.156"}\n',
        b"#separator \\x09\n#fields\tts\tuid\n#types\ttime\tstring\n1764300000.0\tC1\n",
    ],
)
def test_what_holds_no_verdicts_is_said_and_leaves_the_list(tmp_path, out, content):
    log = write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    run("update", log, "-o", out)
    (tmp_path / "other").write_bytes(content)
    done = run("update", tmp_path / "other", "-o", out, "--max-age", 0.01)
    assert done.exit_code == 1 and listed(out) == [BAD] and done.stdout == ""
    assert done.stderr.startswith(f"mmtt: {tmp_path}/other: holds no verdicts; name a mmtt.log")
    done = run("update", log, tmp_path / "other", "-o", out)
    assert done.exit_code == 1 and "1 address listed" in done.stdout and done.stderr.count("\n") == 1


def test_a_log_without_rows_or_verdicts_yet_is_one_all_the_same(tmp_path, out):
    write(tmp_path / "mmtt.log", [row(1, malicious=None, malicious_score=None, malicious_kind=None, status="shed")])
    write(tmp_path / "mmtt_incidents.log", [])
    (tmp_path / "mmtt.1.log").write_text("")
    done = run("update", tmp_path, "-o", out)
    assert done.exit_code == 0 and done.stdout.startswith("0 addresses"), done.output


@pytest.mark.parametrize("written", ["::ffff:45.33.32.156", "::ffff:2d21:209c"])
def test_an_address_within_ipv6_is_the_one_of_ipv4(tmp_path, out, written):
    run("update", write(tmp_path / "mmtt.log", [row(n, written) for n in range(4)]), "-o", out)
    assert listed(out) == [BAD] and "(4 of 4 verdicts)" in run("list", "-o", out).stdout


def test_the_unit_reads_what_that_of_mmtt_sniff_writes():
    assert "update /var/log/mmtt-sniff -o" in run("--print", "unit").stdout


def test_the_table_shows_who_and_why(tmp_path, out):
    write(tmp_path / "mmtt.log", [row(n) for n in range(4)])
    write(tmp_path / "mmtt_incidents.log", [incident()])
    run("update", tmp_path, "-o", out)
    shown = run("list", "-o", out, "--format", "table").stdout
    assert BAD in shown and "IAbc" in shown and "command" in shown


@pytest.mark.parametrize(("what", "says"), [("unit", "ExecStart="), ("timer", "[Timer]"), ("suricata", "rule-files:")])
def test_the_units_and_what_suricata_needs_are_printed(what, says):
    assert says in run("--print", what).stdout


def test_a_suricata_that_could_not_read_the_list_anew_is_told_again(tmp_path, out):
    log, path, asked = write(tmp_path / "mmtt.log", [row(n) for n in range(4)]), tmp_path / "s.socket", []
    answers = iter(["NOK", "OK"])

    def serve(listener: socket.socket) -> None:
        for _ in range(3):
            with listener.accept()[0] as one, one.makefile("rb") as lines:
                one.recv(1000)  # the version
                one.sendall(b'{"return": "OK"}\n')
                for line in lines:
                    command = json.loads(line)["command"]
                    asked.append(command)
                    said = next(answers) if "reload" in command else "OK"
                    one.sendall(json.dumps({"return": said, "message": "busy"}).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        done = [run("update", log, "-o", out, "--suricata", path, "--reload") for _ in range(3)]
        server.join(10)
    assert [each.exit_code for each in done] == [1, 0, 0] and "busy" in done[0].stderr
    assert asked.count("ruleset-reload-nonblocking") == 2
