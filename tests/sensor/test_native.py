"""Agents that Zeek connects to by Broker itself: the same verdicts, the same accounts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from bed import NODES, PACKAGE, ZEEK, read_log, wait_for, zeek_config

#: Where Zeek's installation has its Python modules, if it was built with them.
MODULES = zeek_config("--python_dir") if ZEEK else ""
WITH_BROKER = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (MODULES, os.environ.get("PYTHONPATH"))))}
pytestmark = pytest.mark.skipif(
    subprocess.run(
        [sys.executable, "-c", "import broker"], env=WITH_BROKER, capture_output=True, check=False
    ).returncode
    != 0,
    reason="no Python module broker of Zeek's",
)

AT = {"one": 9990, "two": 9991}
SCRIPT = (
    "@load mmtt/broker-agents\n"
    'redef MMTT::broker_agents += { ["127.0.0.1", 9990/tcp], ["127.0.0.1", 9991/tcp] };'
    "redef MMTT::broker_agents_retry = 1sec;"
)


@pytest.fixture
def packages(tmp_path):
    """Where Zeek finds mmtt/broker-agents."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "mmtt").symlink_to(PACKAGE)
    return str(tmp_path / "packages")


def listen(bed, name: str) -> None:
    bed.start(name, sys.executable, "-c", "from mmtt_agent.cli import main; main()",
              "agent", "--id", name, "--url", f"broker://127.0.0.1:{AT[name]}",
              "--metrics-listen", "off", environment=WITH_BROKER)  # fmt: skip
    wait_for(lambda: "listening on" in bed.said(name), 30, name)


def test_two_agents_one_of_which_dies(bed, packages):
    bed.zeek(script=SCRIPT, environment={"ZEEKPATH": f"{packages}:{zeek_config('--zeekpath')}"})
    listen(bed, "one")
    listen(bed, "two")
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 2, 30, "two agents in use")
    end = bed.traffic(1500, 150)
    wait_for(lambda: bed.metrics()["mmtt_windows_total ok"] > 200, 60, "verdicts")
    bed.stop("one", signal.SIGKILL)
    end()
    time.sleep(7)
    wait_for(lambda: bed.metrics()["mmtt_outstanding_windows"] == 0, 60, "the last answers")
    assert bed.metrics()["mmtt_agents"] == 1
    bed.stop("zeek")
    # Another Zeek finds it where it was.
    (bed.directory / "zeek").rename(bed.directory / "first")
    bed.zeek(script=SCRIPT, environment={"ZEEKPATH": f"{packages}:{zeek_config('--zeekpath')}"})
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 1, 30, "the agent's use")
    bed.traffic(50, 50, "more")()
    wait_for(lambda: bed.metrics()["mmtt_windows_total ok"] == 50, 30, "verdicts")
    assert bed.stop("two") == 0
    rows = read_log(bed.directory / "first" / "mmtt.log")
    assert Counter(row["status"] for row in rows) == {"ok": 1500}
    assert max(Counter((row["uid"], row["window"]) for row in rows).values()) == 1


def test_both_workers_of_a_cluster_connect(bed, packages):
    bed.cluster("Broker", script=SCRIPT, packages=packages)
    listen(bed, "one")
    bed.use(1)
    ends = [bed.traffic(300, 150, f"traffic-{n}", "--network", n) for n in (1, 2)]
    sent = sum(end()["flows"] for end in ends)
    log = bed.directory / "logger-1"
    wait_for(lambda: len(read_log(log / "mmtt.log")) >= sent, 60, "rows")
    for node in reversed(NODES):
        bed.stop(node)
    rows = read_log(log / "mmtt.log")
    assert Counter(row["status"] for row in rows) == {"ok": sent}
    assert Counter(row["id.orig_h"].split(".")[1] for row in rows) == {"1": 300, "2": 300}
