"""`zeek -r` where Zeek itself stands still: a pipe that pauses, a process that is stopped. That is nobody's silence.

Zeek's loop waits for the capture's next bytes, so nothing it is told in the meantime is heard. The times that the
package and the agent give each other are set low here; the pauses are longer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from places import DATA, ZEEK_SCRIPTS

from mmtt_agent.zeek import find as find_zeek

ZEEK = find_zeek()
pytestmark = pytest.mark.skipif(ZEEK is None, reason="no Zeek")

PAUSE = 5.0
IMPATIENT = "redef MMTT::answer_timeout = 3sec; redef MMTT::agent_start_timeout = 3.5sec;"
CAPTURE = (DATA / "lab.pcap").read_bytes()


@pytest.fixture
def zeek(tmp_path):
    """A Zeek that reads what is written to its standard input."""
    (tmp_path / "agent.yaml").write_text("connect_timeout: 1\n")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = subprocess.Popen(
        [ZEEK, "-C", "-r", "-", ZEEK_SCRIPTS, "-e", IMPATIENT],
        cwd=tmp_path,
        env=os.environ | {"MMTT_AGENT": f"mmtt agent -c {tmp_path / 'agent.yaml'}", "PATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    yield process
    process.kill()
    process.wait()


def end(process: subprocess.Popen, directory: Path) -> None:
    """Every window has its verdict, and nobody is blamed."""
    process.stdin.close()
    said = process.stdout.read().decode()
    assert process.wait(60) == 0
    assert "mmtt" not in said, said
    lines = (directory / "mmtt.log").read_text().splitlines()
    status = next(line for line in lines if line.startswith("#fields")).split("\t")[1:].index("status")
    statuses = Counter(line.split("\t")[status] for line in lines if not line.startswith("#"))
    assert statuses == {"ok": 44, "too_short": 2}, said
    lines = (directory / "conn.log").read_text().splitlines()
    service = next(line for line in lines if line.startswith("#fields")).split("\t")[1:].index("mmtt_service")
    assert sum(line.split("\t")[service] != "-" for line in lines if not line.startswith("#")) == 35  # of 37 lines


@pytest.mark.parametrize("at", [[24], [400_000], [1_000_003], [len(CAPTURE)], [300_000, 600_000, 900_000]])
def test_a_pipe_that_pauses(zeek, tmp_path, at):
    begin = 0
    for place in at:
        zeek.stdin.write(CAPTURE[begin:place])
        zeek.stdin.flush()
        begin = place
        time.sleep(PAUSE)
    zeek.stdin.write(CAPTURE[begin:])
    end(zeek, tmp_path)


def test_a_pipe_that_drips(zeek, tmp_path):
    for begin in range(0, len(CAPTURE), 75_000):
        zeek.stdin.write(CAPTURE[begin : begin + 75_000])
        zeek.stdin.flush()
        time.sleep(0.6)
    end(zeek, tmp_path)


@pytest.mark.parametrize("after", [0.6, 1.5, 3.0])
def test_zeek_is_stopped_for_a_while(zeek, tmp_path, after):
    zeek.stdin.write(CAPTURE[:1_200_000])
    zeek.stdin.flush()
    time.sleep(after)
    zeek.send_signal(signal.SIGSTOP)
    time.sleep(PAUSE)
    zeek.send_signal(signal.SIGCONT)
    zeek.stdin.write(CAPTURE[1_200_000:])
    end(zeek, tmp_path)
