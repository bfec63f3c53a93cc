"""`mmtt report`: what its user names, and what comes of it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_logs import BEGIN, conn, incident, window, write
from places import DATA
from program import at_a_terminal

from mmtt_agent.report import library
from mmtt_agent.report.cli import report
from mmtt_agent.report.store import Store, StoreError


@pytest.fixture(autouse=True)
def no_library(monkeypatch):
    """The charts' library takes seconds, and nothing here draws."""
    monkeypatch.setattr(library, "check", lambda: None)
    monkeypatch.setattr(library, "javascript", lambda: "window.vegaEmbed = null;")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object, output: str = "report.html"):
    return CliRunner().invoke(report, [*map(str, arguments), "-o", output])


def data(page: str | Path = "report.html") -> dict:
    text = Path(page).read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_log_and_what_lies_beside_it(here):
    write(
        here / "mmtt.log",
        [
            window("C1", 0, malicious_score=0.2),
            window("C2", 10, orig_h="10.0.0.2", malicious=True, malicious_score=0.97, malicious_kind="scan"),
            window("C1", 20, window=1, service="voip", application="unknown", malicious_score=0.1),
            window(
                "C3",
                30,
                status="too_short",
                packets=2,
                service=None,
                application=None,
                malicious=None,
                malicious_score=None,
            ),
        ],
    )
    write(
        here / "mmtt_incidents.log",
        [incident("I1", uids=("C2",)), incident("I1", "closed", 99, score=0.95, uids=("C2",))],
    )
    conn(here / "conn.log", ("C1", "ssl", "12.5", "1000", "20000", "SF"), ("Cother", "-", "-", "-", "-", "S0"))
    done = run("mmtt.log")
    assert done.exit_code == 0, done.output
    found = data()
    assert found["totals"] == {
        "flows": 3, "answered": 2, "flagged": 1, "windows": 4, "incidents": 1, "hosts": 3, "connections": 1,
        "bytes": 21000.0,
    }  # fmt: skip
    flows = found["flows"]
    assert flows["uid"] == ["C1", "C2", "C3"] and flows["first"] == [BEGIN, 10_000_000, 20_000_000]
    # The latest window names a flow, the most suspicious one its score.
    assert flows["service_texts"] == ["voip", "web"] and flows["service"] == [0, 1, None]
    assert flows["malicious_score"] == [2000, 9700, None] and flows["windows"] == [2, 1, 1]
    assert flows["duration"] == [125_000, None, None] and flows["resp_bytes"] == [20_000, None, None]
    assert flows["incident_texts"] == ["I1"] and flows["incident"] == [None, 0, None]
    assert [(each["id"], each["state"], each["score"]) for each in found["incidents"]] == [("I1", "closed", 0.95)]
    assert [(Path(each["name"]).name, each["rows"], each["beside"]) for each in found["sources"]] == [
        ("mmtt.log", 4, False), ("mmtt_incidents.log", 2, True), ("conn.log", 2, True),
    ]  # fmt: skip
    assert found["talkers"]["orig_h"] == [["10.0.0.1", 2, 0, 21000.0], ["10.0.0.2", 1, 1, None]]
    assert found["whole"] and not found["said"]


def test_logs_of_whatever_form_say_the_same(here):
    rows = [window(f"C{n}", n, service=("web", "chat")[n % 2], orig_p=n, latency=None) for n in range(20)]
    write(here / "a" / "mmtt.log", rows)
    write(here / "b" / "mmtt.log", rows, json=True)
    # As zeekctl keeps them: a directory a day, rotated and packed; the same row may be in two.
    first = write(here / "c" / "2026-11-27" / "mmtt.03:00:00-04:00:00.log", rows[:12])
    (first.parent / f"{first.name}.gz").write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    write(here / "c" / "current" / "mmtt.log", rows[10:])
    found = []
    for place in ("a", "b", "c"):
        done = run(place)
        assert done.exit_code == 0, done.output
        found.append({name: value for name, value in data().items() if name not in ("sources", "made", "title")})
    assert found[0] == found[1] == found[2] and found[0]["totals"]["flows"] == 20


def test_a_capture_has_verdicts_and_packets(here):
    done = run(DATA / "office.pcap", "--title", "An <office>")
    assert done.exit_code == 0, done.output
    found = data()
    assert found["title"] == "An <office>" and found["totals"]["flows"] > 20
    at, windows = next(iter(found["shapes"].items()))
    sizes, times = windows["0"]
    assert len(sizes) == len(times) >= 4 and times == sorted(times) and found["flows"]["packets"][int(at)] >= len(sizes)
    assert found["sources"] == [
        {"name": str(DATA / "office.pcap"), "kind": "capture", "rows": found["totals"]["windows"], "whole": True}
    ]
    # What was left out of it is told in both places.
    assert "left out of" in done.output and "left out of" in found["said"][0] and found["whole"]


def test_too_many_flows_are_counted_and_the_most_suspicious_listed(here):
    rows = [window(f"C{n:03}", n, malicious_score=n / 1000, orig_h=f"10.0.{n}.1") for n in range(200)]
    rows[5] = rows[5]._replace(malicious=True)
    write(here / "mmtt.log", rows)
    done = run("mmtt.log", "--flows", 50)
    assert done.exit_code == 0 and "the 50 most suspicious flows are listed, 150 more are only counted" in done.output
    found = data()
    assert found["left_out"]["flows"] == 150 and found["totals"]["flows"] == 200
    assert found["flows"]["uid"] == ["C005", *(f"C{n:03}" for n in range(151, 200))]
    assert sum(count for _, _, count in found["charts"]["service"]["counts"]) == 200


def test_rows_that_cannot_be_are_left_out_and_told(here):
    log = write(here / "mmtt.log", [window("C1"), window("C2")], json=True)
    bad = [
        '{"ts":1,"uid":"C3"}',
        '{"ts":1795838400,"uid":"C4","window":0,"packets":4,"status":"ok","malicious_score":[]}',
        "{nonsense",
    ]
    log.write_text(log.read_text() + "".join(f"{line}\n" for line in bad))
    done = run("mmtt.log")
    assert done.exit_code == 1
    assert "mmtt.log: 3 rows could not be read, and are left out; the first, line 3: it has no window" in done.output
    found = data()
    assert (
        found["totals"]["flows"] == 2 and not found["whole"] and found["said"] == [done.output[len("mmtt: ") :].strip()]
    )


@pytest.mark.parametrize(
    ("content", "name", "said", "status"),
    [
        (None, "gone.log", "gone.log: No such file or directory", 2),
        (
            "#fields\tts\tfuid\tsource\n#types\ttime\tstring\tstring\n",
            "files.log",
            "a log, but not one that a report",
            2,
        ),
        ("", "empty.pcap", "empty.pcap", 1),
        ("what is this?", "letter.txt", "letter.txt", 1),
    ],
)
def test_what_cannot_be_read_leaves_no_page(here, content, name, said, status):
    if content is not None:
        Path(name).write_text(content)
    Path("report.html").write_text("of yesterday")
    done = run(name)
    assert done.exit_code == status and said in done.output, done.output
    assert Path("report.html").read_text() == "of yesterday" and [*here.glob(".report*")] == []


def test_logs_without_rows_make_an_empty_page(here):
    write(here / "mmtt.log", [])
    (here / "mmtt_incidents.log").write_text("")  # as JSON has it
    done = run("mmtt.log", "mmtt_incidents.log")
    assert done.exit_code == 0, done.output
    assert data()["totals"]["flows"] == 0 and data()["flows"] == {}


def test_an_input_is_not_written_over(here):
    write(here / "mmtt.log", [window("C1")])
    before = Path("mmtt.log").read_text()
    done = run("mmtt.log", output="./mmtt.log")
    assert done.exit_code == 2 and "would be written over" in done.output and Path("mmtt.log").read_text() == before


def test_the_page_is_whole_or_not_there(here, monkeypatch):
    write(here / "mmtt.log", [window("C1")])

    def full(*_: object) -> None:
        raise StoreError("there is no room")

    monkeypatch.setattr(Store, "finish", full)
    done = run("mmtt.log")
    assert (
        done.exit_code == 1 and "Error: there is no room\n" in done.output and [*here.iterdir()] == [here / "mmtt.log"]
    )
    assert isinstance(run("mmtt.log", output="no/where.html").exception, FileNotFoundError)  # `mmtt` says it in a line


def test_a_missing_library_is_said_before_anything_is_read(here, monkeypatch):
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setattr(library.importlib.util, "find_spec", lambda name: None)
    done = run("mmtt.log")
    assert done.exit_code == 2 and "type: pip install 'mmtt[report]'" in done.output


def test_hostile_texts_stay_in_the_data(here):
    evil = "</script><script>alert(1)</script><!--"
    write(
        here / "mmtt.log",
        [
            window(
                f"{evil}1",
                service=evil,
                application=evil,
                malicious_kind=evil,
                status=evil,
                model=evil,
                proto=evil,
                orig_h=evil,
            )
        ],
        json=True,
    )
    write(here / "mmtt_incidents.log", [incident(evil, kind=evil, reason=evil, orig_h=evil, uids=(evil,))], json=True)
    assert run("mmtt.log", "--title", evil).exit_code == 0
    text = Path("report.html").read_text()
    assert text.count("</script") == 3 and "alert(1)<" not in text and "<!--" not in text
    assert data()["incidents"][0]["reason"] == evil and data()["title"] == evil


def test_fields_without_end_and_letters_that_mislead_are_cut_and_escaped(here):
    write(here / "mmtt.log", [window("C1", service="x" * 100_000, application="a\u202eb\x1b")], json=True)
    assert run("mmtt.log").exit_code == 0
    flows = data()["flows"]
    assert flows["service_texts"] == ["x" * 200 + "…"] and flows["application_texts"] == ["a\\u202eb\\x1b"]


def test_numbers_beyond_all_bounds_are_no_reason_to_fall(here):
    line = '{"ts":%s,"uid":"C%d","window":%s,"packets":%s,"status":"ok","malicious_score":%s,"id.orig_p":1}'
    Path("mmtt.log").write_text(
        "".join(
            f"{line % each}\n"
            for each in (("1e9", 1, 10**30, 10**30, "0.5"), ("3.9e12", 2, 0, 4, "1"), ("-5", 3, 0, 4, "1"))
        )
    )
    Path("conn.log").write_text(
        '{"ts":1,"uid":"C1","id.orig_h":"10.0.0.1","conn_state":"SF","orig_bytes":1e400,"duration":-3}\n'
    )
    done = run("mmtt.log")
    assert done.exit_code == 1 and "a row could not be read" in done.output
    assert data()["flows"]["uid"] == ["C1", "C2"] and data()["totals"]["bytes"] is None


def test_help_imports_none_of_it():
    code = "import sys; from mmtt_agent.cli import main\ntry: main(['report', '--help'])\nexcept SystemExit: pass\n"
    code += "print([name for name in ('numpy', 'onnxruntime', 'vl_convert', 'sqlite3') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "one page to read offline" in done.stdout or "Write a page" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_as_a_program_it_shows_how_far_it_is(here):
    pytest.importorskip("vl_convert", reason="no vl-convert-python: pip install 'mmtt[report]'")
    write(here / "mmtt.log", [window(f"C{n}", n) for n in range(25_000)])
    write(here / "mmtt_incidents.log", [incident("I1")])
    status, sent = at_a_terminal("report", "mmtt.log", "-o", "report.html", width=120, stdout=subprocess.DEVNULL)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    assert status == 0 and re.search(r"mmtt\.log +\(1/2\).*\d0,000 rows", plain) and "report.html" in plain, plain
    assert "the 10,000 most suspicious flows are listed, 15,000 more are only counted" in plain
    # The library is in it, once.
    assert 500_000 < Path("report.html").stat().st_size < 5_000_000


def test_where_the_page_cannot_be_is_one_line(here):
    pytest.importorskip("vl_convert", reason="no vl-convert-python: pip install 'mmtt[report]'")
    write(here / "mmtt.log", [window("C1")])
    status, sent = at_a_terminal("report", "mmtt.log", "-o", "no/where.html", stdout=subprocess.DEVNULL)
    assert status == 1 and "Error: no/where.html: No such file or directory" in sent and "Traceback" not in sent
