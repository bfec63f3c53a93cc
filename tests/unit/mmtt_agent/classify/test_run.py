"""`mmtt classify` as a program: what vanishes, who ends it, where it writes."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import DATA
from program import MMTT, UNPRIVILEGED, mmtt

from mmtt_agent import bundle
from mmtt_agent.capture import CaptureError, read_capture
from mmtt_agent.classify import run

#: What is said where logs are written by a model that finds no incidents, as those of mmtt up to 0.4.0 don't.
SHIPPED = bundle.load()
LACKS = (
    ""
    if SHIPPED.incidents
    else f"mmtt: the model {SHIPPED.model} finds no incidents; those of mmtt 0.5.0 and later do\n"
)
#: All of it is TCP or UDP, so that nothing is to be said of it.
LAB = DATA / "lab.pcap"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if not line.startswith("#")]


def captures(text: str) -> list[str]:
    """Those that there are rows of."""
    return [*dict.fromkeys(row[-1] for row in rows(text))]


def fed(fifo: str, before: Callable[[], object]) -> threading.Thread:
    """Write a capture into a FIFO once it is read, and do something before it can be read to its end."""

    def feed():
        with open(fifo, "wb") as out:
            before()
            out.write(LAB.read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


def become_a_directory(path: str) -> None:
    os.unlink(path)
    os.mkdir(path)


@pytest.mark.parametrize(
    ("become", "says"),
    [
        (os.unlink, "can't be opened: No such file or directory; check the path"),
        (become_a_directory, "can't be opened: Is a directory; check the path"),
        (lambda path: os.truncate(path, 0), "empty (0 bytes); record it again"),
        (lambda path: os.truncate(path, 20), "ends inside the file header, at byte 20; record it again"),
    ],
    ids=["gone", "directory", "empty", "shorter"],
)
def test_a_capture_that_changes_before_it_is_read_costs_its_own_rows(here, become, says):
    os.mkfifo("first")
    shutil.copy(LAB, "second.pcap")
    thread = fed("first", lambda: become("second.pcap"))
    done = mmtt("classify", "-o", "logs", "first", "second.pcap", LAB)
    thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"mmtt: second.pcap: {says}\n{LACKS}")
    assert captures(Path("logs/mmtt.log").read_text()) == ["first", str(LAB)]


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (OSError(5, "Input/output error"), "bad: can't be read: Input/output error"),
        (MemoryError(), "bad: too large for this machine's memory; cut it in parts with: editcap -c 10000000"),
        (CaptureError("bad: damaged at byte 7"), "bad: damaged at byte 7"),
    ],
)
def test_whatever_goes_wrong_with_one_capture_the_others_are_read(here, monkeypatch, raised, says):
    def read(source, **options):
        if str(source) == "bad":
            raise raised
        return read_capture(source, **options)

    class Classifier:
        model = "m@00000000"
        bundle = SimpleNamespace(incidents=None)

        def classify(self, _):
            raise AssertionError("no window of this capture is long enough")

    class Progress:
        def reading(self, *_):
            pass

        classifying = reading

    monkeypatch.setattr(run, "read_capture", read)
    Path("empty.pcap").write_bytes(LAB.read_bytes()[:24])
    said, written = [], []
    counted = run.classify([Path("bad"), Path("empty.pcap")], Classifier(), written.append, Progress(), said.append)
    assert (counted, said) == ((1, 1), [says])


def test_captures_that_cant_be_read_leave_the_older_log(here):
    assert mmtt("classify", "-o", "logs", LAB).returncode == 0
    older = Path("logs/mmtt.log").read_bytes()
    Path("not.pcap").write_text("no capture")
    # Damaged, and nothing before that.
    Path("damaged.pcap.gz").write_bytes(gzip.compress(LAB.read_bytes())[:200] + b"damage" * 100)
    Path("damaged.pcap").write_bytes(LAB.read_bytes()[:24] + b"\xff" * 100)
    for bad in (["not.pcap"], ["damaged.pcap.gz"], ["damaged.pcap"], ["not.pcap", "damaged.pcap.gz"]):
        done = mmtt("classify", "-o", "logs", *bad)
        assert done.returncode == 1
        assert done.stderr.endswith("mmtt: no capture could be read: logs/mmtt.log is left as it was\n")
        assert len(done.stderr.splitlines()) > len(bad)
        assert Path("logs/mmtt.log").read_bytes() == older


def test_a_directory_that_may_be_written_to_but_not_read_takes_the_log(here):
    os.mkdir("logs")
    os.chmod("logs", 0o333)
    done = mmtt("classify", "-o", "logs", LAB, user=UNPRIVILEGED)
    os.chmod("logs", 0o755)
    assert (done.returncode, done.stderr) == (0, LACKS)
    assert len(rows(Path("logs/mmtt.log").read_text())) == 46


def test_standard_input_that_is_closed_or_no_capture(here):
    for shell, says in (
        ("<&-", "closed; pipe a capture in"),
        ("</dev/null", "empty (0 bytes); record it again"),
        ("0>/dev/null", "can't be read: Bad file descriptor"),
    ):
        done = mmtt("classify", "-", shell=shell)
        assert (done.returncode, rows(done.stdout), done.stderr) == (1, [], f"mmtt: standard input: {says}\n")
        done = mmtt("classify", "-", LAB, shell=shell)
        assert (done.returncode, captures(done.stdout)) == (1, [str(LAB)])
    done = mmtt("classify", "-", "-", shell=f"<{LAB}")
    assert (done.returncode, captures(done.stdout)) == (0, ["standard input"])
    assert done.stderr == "mmtt: standard input: named more than once, read once\n"


def test_names_are_shown_escaped_and_rows_have_them(here):
    name = os.fsdecode(b"a\n\x1b[31m\xff[/x].pcap")
    os.mkdir(os.path.dirname(name))
    shutil.copy(LAB, name)
    Path("b\n\x1b[31m.pcap").write_bytes(LAB.read_bytes()[:1000])
    Path("c\n\x1b[31m.pcap").write_bytes(b"no capture")
    for form in ("tsv", "json", "table"):
        done = mmtt("classify", ".", "gone\n\x1b[31m", "--format", form, env={"COLUMNS": "200"})
        assert done.returncode == 1
        assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
            " gone\\n\\x1b[31m",
            " b\\n\\x1b[31m.pcap",
            " c\\n\\x1b[31m.pcap",
        ]
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stdout.encode("utf-8")
        # In the log each byte is told, so that the file can be found by it.
        assert {"tsv": "a\\x0a\\x1b[31m\\xff[/x].pcap", "json": '"a\\n\\u001b[31m\\\\xff[/x].pcap"',
                "table": "a\\n\\x1b[31m\\xff[/x].pcap"}[form] in done.stdout  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing_half_written(here, number):
    os.mkfifo("pipe")
    os.mkdir("logs")
    Path("logs/mmtt.log").write_text("of an earlier run")
    program = subprocess.Popen([*MMTT, "classify", "-o", "logs", LAB, "pipe"], stderr=subprocess.PIPE)
    with open("pipe", "wb"):
        while len(os.listdir("logs")) < 3:
            time.sleep(0.01)
        # `timeout` sends it twice.
        program.send_signal(number)
        program.send_signal(number) if number != signal.SIGINT else None
        _, said = program.communicate(timeout=60)
    assert program.returncode == -number
    assert said == b""
    assert os.listdir("logs") == ["mmtt.log"]
    assert Path("logs/mmtt.log").read_text() == "of an earlier run"


def test_what_a_killed_run_has_left_does_not_stay(here):
    os.mkfifo("pipe")
    program = subprocess.Popen([*MMTT, "classify", "-o", "logs", "pipe"])
    with open("pipe", "wb"):
        while not (Path("logs").is_dir() and len(parts := os.listdir("logs")) == 2):
            time.sleep(0.01)
        program.kill()
        program.wait()
    for part in parts:
        os.utime(Path("logs", part), (0, 0))
    assert mmtt("classify", "-o", "logs", LAB).returncode == 0
    assert {*os.listdir("logs")} == {"mmtt.log", "mmtt_incidents.log"}


def test_where_a_log_cant_be_written_nothing_is_read(here):
    shutil.copy(LAB, "a.pcap")
    os.mkfifo("pipe")
    os.makedirs("taken/mmtt.log")
    for place, says in (
        ("a.pcap", "a.pcap: Not a directory"),
        ("a.pcap/logs", "a.pcap/logs: Not a directory"),
        ("taken", "taken/mmtt.log: Is a directory"),
        ("x" * 300, f"{'x' * 300}: File name too long"),
        ("/proc/logs", "/proc/logs: No such file or directory"),
    ):
        # A pipe that nobody writes: to read it would take for ever.
        done = mmtt("classify", "-o", place, "pipe")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {says}\n")
    assert sorted(os.listdir()) == ["a.pcap", "pipe", "taken"] and os.listdir("taken") == ["mmtt.log"]


def test_a_disk_that_is_full_leaves_no_half_log(here):
    limited = ("sh", "-c", 'ulimit -f 8; exec "$@"', "sh")
    done = mmtt("classify", "-o", "logs", LAB, user=limited)
    assert (done.returncode, done.stderr) == (1, "Error: logs/mmtt.log: File too large\n")
    assert os.listdir("logs") == []


def test_a_capture_is_not_written_over(here):
    os.mkdir("logs")
    shutil.copy(LAB, "logs/mmtt.log")
    done = mmtt("classify", "logs/mmtt.log", "-o", "logs")
    assert done.returncode == 2
    assert "logs/mmtt.log would be written over by -o logs; name another directory" in done.stderr
    assert Path("logs/mmtt.log").read_bytes() == LAB.read_bytes()
    # Beside captures it may stand.
    shutil.copy(LAB, "logs/a.pcap")
    os.unlink("logs/mmtt.log")
    assert mmtt("classify", "logs", "-o", "logs").returncode == 0
    assert captures(Path("logs/mmtt.log").read_text()) == ["logs/a.pcap"]


def test_flows_of_any_number(here):
    for flows, status in (("0", 0), ("1", 0), (str(10**30), 0), ("-1", 2), ("1.5", 2), ("many", 2), ("", 2)):
        done = mmtt("classify", LAB, "--format", "table", "--flows", flows)
        assert done.returncode == status
        assert bool(done.stdout) == (status == 0)
