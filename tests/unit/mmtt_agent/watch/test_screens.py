"""`mmtt status`, `top`, `reload` and `doctor` where what they say can't be said, or is not theirs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from places import DATA
from program import MMTT, at_a_terminal, mmtt

from mmtt_agent.watch import doctor

STATUS = {
    "agent": "a1\x1b[31m", "version": "0.1.0", "pid": 1, "started": 0.0, "now": 100.0, "healthy": False,
    "problem": "no Zeek\n\x1b[5m", "model": "m@12345678", "bundle": "/d[/x]\x1b]0;x\x07",
    "zeek": {"version": "8.2.2\x9b", "url": "ws://z", "nodes": 1, "connected": True},
    "windows": {"received": 9, "answered": {"ok": 9, "shed": 0, "error": 0}, "in_hand": 0, "queued": 0},
    "latency": {"p50": 0.001, "p99": 0.002}, "reloads": {"ok": 0, "failed": 1}, "reload_problem": "gone\x1b",
    "malicious": 1, "services": {"web\x1b": 9}, "applications": {"A→\u202e": 9},
    "suspicious": [{"malicious_score": 0.9, "malicious": True, "ts": 9e15, "uid": "C\x1b", "service": "web",
                    "application": "A", "malicious_kind": "scan\x1b"}],
    "malicious_kinds": {"scan\x1b": 1},
}  # fmt: skip


@pytest.fixture
def agent():
    """Where an agent is that says `STATUS` of itself, as one elsewhere may."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(STATUS | {"now": time.time()}).encode())

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


COMMANDS = [
    ("status", "--format", "json"),
    ("status", "--format", "table"),
    ("top", "--once", "--interval", "0.1"),
    ("doctor", "--zeek", "/absent"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_cant_be_written_is_one_line_and_a_status(agent, command):
    for shell, says in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        done = mmtt(*command, "--agent", agent, shell=shell)
        status = 1 if command[0] == "top" else 3  # the others' 1 says what they found
        assert (done.returncode, done.stderr) == (status, f"Error: standard output: {says}\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = mmtt(*command, "--agent", agent, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_what_an_agent_says_of_itself_is_shown_escaped(agent):
    for command, times in (("status", 0), ("top", 1)):
        options = ("-n", "1", "--interval", "0.1") if times else ()
        status, sent = at_a_terminal(command, "--agent", agent, *options, width=150)
        assert status == (0 if times else 1)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
        assert not re.search("[\x07\x1b\x9b\u202e]", plain), plain
        assert "\x1b[5m" not in sent, "nothing blinks"
        assert "a1\\x1b[31m" in plain and "no Zeek\\n\\x1b[5m" in plain and "web\\x1b" in plain and "scan\\x1b" in plain
    assert "9000000000000000 s" in plain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_top_gives_the_terminal_back_when_it_is_ended(agent, number):
    status, sent = at_a_terminal("top", "--agent", agent, "--interval", "0.1", once=b"verdicts/s", end_by=number)
    assert status == -number
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l"), "the cursor is there again"


def test_a_locale_that_lacks_a_letter(agent):
    done = mmtt("status", "--agent", agent, "--format", "table", env={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (1, "") and "A->\\u202e" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("top", "--interval", "nan"), "Invalid value for '--interval': nan is not a number of seconds."),
        (("reload", "--timeout", "nan"), "Invalid value for '--timeout': nan is not a number of seconds."),
        (("status", "-c", "gone\n\x1b[31m"), "Error: gone\\n\\x1b[31m: No such file or directory"),
        (("top", "-c", "x" * 300), "File name too long"),
        (("status", "--agent", "here\x1b[31m:1"), "\\x1b[31m"),
    ],
    ids=lambda each: each[:2] if isinstance(each, tuple) else None,
)
def test_wrong_usage_is_told_in_a_line(arguments, says):
    done = mmtt(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert says in done.stderr.splitlines()[-1] and "\x1b" not in done.stderr


def test_reload_of_a_process_of_an_impossible_number(agent):
    done = mmtt("reload", "--agent", agent, "--pid", 10**30)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert f"process {10**30} is not the agent that answers" in done.stderr


def test_doctor_tells_of_thresholds_that_the_bundle_has_no_use_for(tmp_path):
    settings = tmp_path / "agent.yaml"
    for text, says in (
        ("thresholds: {malicious: {wbe: 0.9}}", "knows no service 'wbe', which there is a threshold for"),
        ("incidents: {share: 7%}", "has no threshold for 7%"),
    ):
        settings.write_text(text)
        assert says in mmtt("doctor", "-c", settings, "--zeek", "/absent", env={"COLUMNS": "300"}).stdout


def test_doctor_goes_on_where_a_check_has_nothing_to_stand_on(tmp_path, monkeypatch):
    prefix = tmp_path / "z\x1b[31m"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "etc").mkdir()
    (prefix / "etc" / "node.cfg").write_bytes("# B\u00fcro\n[m]\ntype = manager\n".encode("latin-1"))
    (prefix / "etc" / "zeekctl.cfg").write_text("")
    zeek = prefix / "bin" / "zeek"
    zeek.write_text("#!/bin/sh\necho zeek version 8.2.2\n")
    zeek.chmod(0o755)
    done = mmtt("doctor", "--zeek", zeek, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 1 and "\x1b" not in done.stdout
    assert re.search(r"problem +cluster +its manager does not listen", done.stdout)
    assert re.search(r"\bclock\b", done.stdout)
    # Without a place for a file of its own, and for a Zeek that lies where nothing lies above it.
    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", lambda: os.stat("/gone/tmp"))
    (found,) = doctor._package(str(zeek), "local")
    assert (found.state, found.what) == ("problem", "package") and "/gone/tmp" in found.text
    assert doctor._site("/zeek") == "/share/zeek/site/local.zeek"


def test_doctor_and_bench_leave_nothing_behind_when_they_are_ended(tmp_path):
    zeek, begun, temporary = tmp_path / "bin" / "zeek", tmp_path / "begun", tmp_path / "tmp"
    zeek.parent.mkdir()
    temporary.mkdir()
    zeek.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo zeek version 8.2.2 && exit\necho $$ >{begun}\nexec sleep 60\n'
    )
    zeek.with_name("zeek-config").write_text("#!/bin/sh\necho /scripts\n")
    for each in zeek.parent.iterdir():
        each.chmod(0o755)
    for command in (["doctor"], ["bench", "zeek", DATA / "midstream.pcap", "--runs", "1"]):
        program = subprocess.Popen(
            [*MMTT, *command, "--zeek", zeek], stdout=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(temporary)}
        )
        while not begun.exists() or not begun.read_text().endswith("\n"):
            time.sleep(0.01)
        assert list(temporary.glob("tmp*"))
        program.terminate()
        assert program.wait(60) == -signal.SIGTERM
        assert list(temporary.glob("tmp*")) == []
        # Its parent gone, it is for the system to bury, which may take a moment.
        end = time.monotonic() + 30
        while os.path.exists(f"/proc/{begun.read_text().strip()}"):
            assert time.monotonic() < end, "the Zeek that it has started goes, too"
            time.sleep(0.01)
        begun.unlink()
