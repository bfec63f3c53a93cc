"""What `mmtt classify` shows at a terminal while it works."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time

from places import DATA
from program import at_a_terminal

from mmtt_agent.classify.progress import progress


def test_names_are_no_markup_and_verdicts_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "d[/x]\x1b]0;[red]\n.pcap"
    os.mkdir("d[")
    os.mkfifo(name)

    def feed() -> None:
        with open(name, "wb") as pipe:
            time.sleep(1)  # it is shown some times a second
            pipe.write((DATA / "office.pcap").read_bytes())

    feeding = threading.Thread(target=feed)
    feeding.start()
    status, sent = at_a_terminal("classify", name, DATA / "lab.pcap", "gone[/b]", width=160, stdout=subprocess.DEVNULL)
    feeding.join()
    assert status == 1
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent)
    assert "\x1b" not in plain
    assert re.search(r"d\[/x\]\\x1b\]0;\[red\]\\n\.pcap +\(1/2\).* packets", plain)
    assert re.search(r"lab\.pcap +\(2/2\).* [\d,]+ of 44 verdicts", plain)
    assert "mmtt: gone[/b]: No such file or directory" in plain
    assert sent.count("\x1b[?25l") == sent.count("\x1b[?25h") == 1, "the cursor is there again"


def test_a_long_name_does_not_fill_the_screen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "n" * 200 + ".pcap"
    shutil.copy(DATA / "lab.pcap", name)
    status, sent = at_a_terminal("classify", name, width=90, stdout=subprocess.DEVNULL)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent).replace("\r", "\n").splitlines()
    assert status == 0 and "nnn" in sent
    assert max(map(len, lines)) <= 90 and name not in sent


def test_nothing_draws_once_it_is_over(monkeypatch):
    """A thread that held standard error while the interpreter ended took the program down with SIGABRT."""
    ours, theirs = pty.openpty()
    before = {*threading.enumerate()}
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(1) as told:
            told.reading(1, "a.pcap", None, 0, 0)
            assert {*threading.enumerate()} - before
        assert not {*threading.enumerate()} - before
    os.close(ours)
