"""Which captures a command line names, and what is said of what can't be read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from places import DATA
from program import UNPRIVILEGED, mmtt

from mmtt_agent.classify.sources import expand

#: All of it is TCP or UDP, so that nothing is to be said of it.
CAPTURE = DATA / "lab.pcap"


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copies(*names: str) -> None:
    for name in names:
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        shutil.copy(CAPTURE, name)


def names(found) -> list[str]:
    return ["-" if path is None else str(path) for path in found.captures]


def test_what_cant_be_reached_is_a_line_and_costs_no_other(here):
    copies("good.pcap")
    os.symlink("loop", "loop")
    os.symlink("nowhere", "link")
    os.mkdir("empty")
    long = "a" * 300
    found = expand(["missing", "", long, "good.pcap/x", "loop", "link", "empty", "good.pcap", "d/" * 3000])
    assert names(found) == ["good.pcap"] and found.notes == []
    assert found.problems[:-1] == [
        "missing: No such file or directory",
        "'': the name of a capture is empty; is a variable not set?",
        f"{long}: File name too long",
        "good.pcap/x: Not a directory",
        "loop: Too many levels of symbolic links",
        "link: No such file or directory",
        "empty: no captures in this directory (looked for names in .pcap, .pcapng, .cap, .dmp)",
    ]
    assert found.problems[-1].endswith(": File name too long")


def test_nothing_of_a_directory_is_passed_over_in_silence(here):
    copies("d/b/2.pcap", "d/a.pcap/1.PCAP.GZ", "d/other.txt", "d/3.cap")
    os.mkfifo("d/pipe.pcap")
    os.symlink("loop.pcap", "d/loop.pcap")
    os.symlink("nowhere", "d/link.pcap")
    os.symlink("nowhere", "d/no-capture")
    os.symlink("..", "d/up")
    os.symlink("3.cap", "d/4.pcap")
    found = expand(["d"])
    assert names(found) == ["d/3.cap", "d/a.pcap/1.PCAP.GZ", "d/b/2.pcap"]
    assert sorted(found.problems) == [
        "d/link.pcap: a link that leads nowhere",
        "d/loop.pcap: Too many levels of symbolic links",
        "d/pipe.pcap: not a file; name it to have it read",
    ]
    assert found.notes == [
        "d/up: a link to a directory, not followed; name it to have it read",
        "d/4.pcap: named more than once, read once",
    ]


def test_a_capture_is_read_once_whatever_ways_lead_to_it(here):
    copies("d/a.pcap", "d/b.pcap")
    os.symlink("d", "also")
    os.mkfifo("pipe")
    found = expand(["d/b.pcap", "d", "-", f"{here}/d", "also/", "./d/a.pcap", "-", "pipe", "pipe"])
    assert names(found) == ["d/b.pcap", "d/a.pcap", "-", "pipe", "pipe"]
    assert found.notes == ["7 captures are named more than once and read once, the first d/b.pcap"]
    assert found.problems == []


def test_rows_may_come_of_several_captures_by_what_is_named_and_not_by_what_is_there(here):
    copies("d/a.pcap")
    several = [expand(arguments).several for arguments in (["d/a.pcap"], ["-"], ["d"], ["d/a.pcap", "gone"])]
    assert several == [False, False, True, True]


def test_a_directory_that_goes_while_it_is_searched(here, monkeypatch):
    copies("d/a/1.pcap", "d/b/2.pcap")
    real = os.scandir

    def scandir(path):
        if str(path) == "d/a":
            shutil.rmtree("d/a")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = expand(["d"])
    assert names(found) == ["d/b/2.pcap"]
    assert found.problems == ["d/a: can't be searched for captures: No such file or directory"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv")
def test_what_the_user_may_not_read(here):
    if os.geteuid() == 0 and subprocess.run([*UNPRIVILEGED, "true"], check=False).returncode:
        pytest.skip("setpriv may not give up rights here")
    user = UNPRIVILEGED if os.geteuid() == 0 else ()
    copies("d/a/1.pcap", "d/b/2.pcap", "d/c/3.pcap", "d/4.pcap")
    os.chmod("d/b", 0)
    os.chmod("d/c", 0o444)  # its names can be read, and nothing else of it
    os.chmod("d/4.pcap", 0)
    done = mmtt("classify", "d", user=user)
    os.chmod("d/c", 0o755)
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        "mmtt: d/4.pcap: can't be opened: Permission denied; check the path",
        "mmtt: d/b: can't be searched for captures: Permission denied",
        "mmtt: d/c/3.pcap: can't be opened: Permission denied; check the path",
    ]
    rows = [line.split("\t")[-1] for line in done.stdout.splitlines() if not line.startswith("#")]
    assert set(rows) == {"d/a/1.pcap"}
    # Alone, or a file in it by its name: nothing is left to read.
    for argument, says in (
        ("d/b", "can't be searched for captures: Permission denied"),
        ("d/b/2.pcap", "Permission denied"),
    ):
        done = mmtt("classify", argument, user=user)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"mmtt: {argument}: {says}\n")
    os.chmod("d/b", 0o755)
