"""A `zeek -r` that ends early, however it does: nothing is lost that Zeek alone logs, and no process is left.

Zeek alone and Zeek with the package run over the same capture; the logs are held side by side, line for line.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import DATA, ZEEK_SCRIPTS

from mmtt_agent.zeek import find as find_zeek

ZEEK = find_zeek()
pytestmark = pytest.mark.skipif(ZEEK is None, reason="no Zeek")

#: Logs that tell of this run rather than of the traffic.
_OF_THE_RUN = {"packet_filter", "loaded_scripts", "stats", "telemetry", "telemetry_histogram", "cluster", "broker"}
#: Fields that differ from run to run, and those that are the package's.
_UIDS = re.compile(r"(uids?|fuids?|.*_fuids?|id|tunnel_parents|parent_fuid|mmtt_.*)")
#: Whoever is left when Zeek has ended is gone after so many seconds.
_GONE = 3.0
# Ends that come at the same packet in both runs.
_AT_CONNECTION = """
global seen = 0;
event new_connection(c: connection)
	{{
	if ( ++seen == {number} )
		{end};
	}}
"""


_COUNT = """
global begun = 0;
event new_connection(c: connection)
	{
	++begun;
	}
event zeek_done()
	{
	print fmt("connections: %d", begun);
	}
"""


def log_lines(directory: Path, name: str) -> Counter[str]:
    """The lines of a log, without what differs from run to run."""
    lines: Counter[str] = Counter()
    kept: list[int] = []
    for line in (directory / name).read_text().splitlines():
        fields = line.split("\t")
        if fields[0] == "#fields":
            kept = [i for i, field in enumerate(fields[1:]) if not _UIDS.fullmatch(field)]
        elif not line.startswith("#") and kept and len(fields) > max(kept):
            lines["\t".join(fields[i] for i in kept)] += 1
    return lines


@dataclass
class Run:
    directory: Path
    status: int
    said: str
    mark: str

    def logs(self) -> dict[str, Counter[str]]:
        names = {path.stem for path in self.directory.glob("*.log")} - _OF_THE_RUN
        return {name: log_lines(self.directory, f"{name}.log") for name in names}

    def left(self) -> list[str]:
        """The processes that were started in this run and are still there."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (process / "environ").read_bytes():
                    found.append(f"{process.name}: {(process / 'cmdline').read_bytes()!r}")
        return found

    def assert_nobody_is_left(self) -> None:
        end = time.monotonic() + _GONE
        while left := self.left():
            assert time.monotonic() < end, left
            time.sleep(0.1)

    def statuses(self) -> Counter[str]:
        """The rows of mmtt.log by their status."""
        log = self.directory / "mmtt.log"
        if not log.exists():
            return Counter()
        lines = log.read_text().splitlines()
        fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
        return Counter(line.split("\t")[fields.index("status")] for line in lines if not line.startswith("#"))


class Stage:
    """Runs Zeek, each time in a directory of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runs: list[Run] = []

    def environment(self, mark: str) -> dict[str, str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        return os.environ | {"MMTT_TEST_MARK": mark, "PATH": path}

    def start(self, name: str, *arguments: object, **options) -> tuple[subprocess.Popen, Path, str]:
        directory = self.home / name
        directory.mkdir(exist_ok=True)
        mark = f"mark-{uuid.uuid4()}"
        process = subprocess.Popen(
            [str(each) for each in (ZEEK, "-C", *arguments)],
            cwd=directory,
            env=self.environment(mark),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **{"stdin": subprocess.DEVNULL} | options,
        )
        return process, directory, mark

    def run(self, name: str, *arguments: object, **options) -> Run:
        process, directory, mark = self.start(name, *arguments, **options)
        said, _ = process.communicate(timeout=120)
        self.runs.append(run := Run(directory, process.returncode, said, mark))
        return run

    def both(self, *arguments: object, **options) -> tuple[Run, Run]:
        """Zeek alone, and with the package."""
        alone = self.run("alone", *arguments, **options)
        beside = self.run("beside", ZEEK_SCRIPTS, *arguments, **options)
        assert alone.status == beside.status, beside.said
        return alone, beside


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    yield made
    for run in made.runs:
        for line in run.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line.partition(":")[0]), signal.SIGKILL)


def assert_nothing_is_lost(alone: Run, beside: Run) -> None:
    theirs, ours = alone.logs(), beside.logs()
    assert theirs["conn"]
    for name, lines in theirs.items():
        assert name in ours, (name, beside.said)
        assert not (lost := lines - ours[name]), (name, len(lost), lost.most_common(3))


def write_long(path: Path, capture: str, times: int, cut: int) -> Path:
    """A capture over and over, each time later, less ``cut`` bytes at the end."""
    content = (DATA / capture).read_bytes()
    head, body = content[:24], content[24:]
    records, at = [], 0
    while at < len(body):
        seconds, size = int.from_bytes(body[at : at + 4], "little"), int.from_bytes(body[at + 8 : at + 12], "little")
        records.append((seconds, body[at + 4 : at + 16 + size]))
        at += 16 + size
    span = records[-1][0] - records[0][0] + 400
    parts = [head]
    for n in range(times):
        parts += [(seconds + n * span).to_bytes(4, "little") + rest for seconds, rest in records]
    whole = b"".join(parts)
    path.write_bytes(whole[: len(whole) - cut])
    return path


@pytest.mark.parametrize("size", [1_250_000, 1_400_000, 1_482_311])
def test_a_capture_cut_off_in_a_packet(stage, size):
    capture = stage.home / "cut.pcap"
    capture.write_bytes((DATA / "lab.pcap").read_bytes()[:size])
    alone, beside = stage.both("-r", capture)
    assert alone.status == 1
    assert_nothing_is_lost(alone, beside)
    beside.assert_nobody_is_left()
    assert beside.statuses()["ok"]
    assert set(beside.statuses()) <= {"ok", "too_short"}


def test_a_long_capture_cut_off_in_a_packet(stage):
    capture = write_long(stage.home / "cut.pcap", "office.pcap", 25, 5)
    alone, beside = stage.both("-r", capture)
    assert_nothing_is_lost(alone, beside)
    assert beside.statuses()["ok"] > 300
    beside.assert_nobody_is_left()


def test_a_packet_that_cant_be_in_the_middle(stage):
    capture = write_long(stage.home / "bad.pcap", "office.pcap", 4, 0)
    content = bytearray(capture.read_bytes())
    at = 24
    while at < len(content) * 2 // 3:
        at += 16 + int.from_bytes(content[at + 8 : at + 12], "little")
    content[at + 8 : at + 12] = b"\xff\xff\xff\x7f"
    capture.write_bytes(content)
    alone, beside = stage.both("-r", capture)
    assert alone.status == 1
    assert_nothing_is_lost(alone, beside)


def test_a_pipe_cut_off_in_a_packet(stage):
    cut = (DATA / "lab.pcap").read_bytes()[:1_400_000]

    def run(name: str, *scripts: object) -> Run:
        process, directory, mark = stage.start(name, *scripts, "-r", "-", stdin=subprocess.PIPE)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.buffer.write(cut)
            process.stdin.close()
        said = process.stdout.read()
        stage.runs.append(run := Run(directory, process.wait(60), said, mark))
        return run

    alone, beside = run("alone"), run("beside", ZEEK_SCRIPTS)
    assert (alone.status, beside.status) == (1, 1)
    assert_nothing_is_lost(alone, beside)
    beside.assert_nobody_is_left()


@pytest.mark.parametrize("number", [60, 95])
@pytest.mark.parametrize(
    "end",
    [
        "terminate()",
        "exit(3)",
        'Reporter::fatal("the end")',
    ],
    ids=["terminate", "exit", "fatal"],
)
def test_a_script_ends_zeek(stage, end, number):
    script = stage.home / "end.zeek"
    script.write_text(_AT_CONNECTION.format(number=number, end=end))
    capture = write_long(stage.home / "long.pcap", "office.pcap", 4, 0)
    alone, beside = stage.both("-r", capture, script)
    assert_nothing_is_lost(alone, beside)
    beside.assert_nobody_is_left()
    if "exit" not in end and "fatal" not in end:
        # Zeek closes its logs: every window has its row.
        whole = sum(beside.statuses().values())
        assert whole and not set(beside.statuses()) - {"ok", "too_short", "timeout", "no_agent"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("after", [0.3, 2.0, 4.0])
def test_a_signal_at_any_time(stage, number, after):
    """While the agent starts, while the trace is read, while the last verdicts are waited for."""
    capture = write_long(stage.home / "long.pcap", "office.pcap", 40, 0)
    script = stage.home / "count.zeek"
    script.write_text(_COUNT)
    process, directory, mark = stage.start("beside", ZEEK_SCRIPTS, script, "-r", capture)
    time.sleep(after)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    stage.runs.append(run := Run(directory, process.returncode, said, mark))
    run.assert_nobody_is_left()
    if number != signal.SIGKILL and (begun := re.search(r"^connections: (\d+)$", said, re.MULTILINE)):
        # Each that Zeek has seen the beginning of has its line.
        count = int(begun[1])
        assert (log_lines(directory, "conn.log").total() if count else 0) == count


def test_killed_the_directory_is_free_at_once(stage):
    process, directory, mark = stage.start(
        "beside", ZEEK_SCRIPTS, "-r", DATA / "lab.pcap", "-e", "redef exit_only_after_terminate = T;"
    )
    stage.runs.append(run := Run(directory, 0, "", mark))
    end = time.monotonic() + 30
    while not any("exit-with-zeek" in line for line in run.left()):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.communicate()
    run.assert_nobody_is_left()
    there = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.resolve() == directory:
                there.append(link)
    assert not there


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")
def test_a_full_disk(stage):
    capture = write_long(stage.home / "long.pcap", "office.pcap", 25, 0)
    runs = []
    for name, scripts in (("alone", ()), ("beside", (ZEEK_SCRIPTS,))):
        place = stage.home / name
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place], check=True)
        try:
            run = stage.run(name, *scripts, "-r", capture)
            conn = log_lines(place, "conn.log")
            run.assert_nobody_is_left()
            runs.append((run, conn))
        finally:
            # Fails while anybody is in there.
            subprocess.run(["umount", place], check=True)
    (alone, lines), (beside, ours) = runs
    assert "No space left" in alone.said and "No space left" in beside.said
    # mmtt.log takes some of the space.
    assert ours.total() > lines.total() * 0.5
