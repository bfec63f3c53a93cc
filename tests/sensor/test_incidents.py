"""Incidents on live traffic: one key for all workers, kept across restarts, and addresses where they are written."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest
from bed import NODES, read_log, wait_for

FAKE = Path(__file__).parents[1] / "zeek" / "fake_agent.py"
RATE = 300.0


def fake_agent(bed) -> None:
    """An agent to which every pair of hosts is an incident."""
    url = "ws://127.0.0.1:27759/v1/messages/json"
    bed.start("fake", sys.executable, FAKE, "--url", url, "--incidents", "live", "--log", "log")


def pairs(bed) -> list[str]:
    """The hosts' names that the agent was sent, originator and responder."""
    path = bed.directory / "fake" / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix("pair ") for line in lines if line.startswith("pair ")]


@pytest.mark.parametrize("backend", ["ZeroMQ", "Broker"])
def test_in_a_cluster_workers_share_a_key_and_the_manager_names_the_hosts(bed, backend):
    bed.cluster(backend)
    fake_agent(bed)
    bed.use(1)
    ends = [bed.traffic(300, RATE, f"traffic-{n}", "--network", n) for n in (1, 2)]
    for end in ends:
        end()
    log = bed.directory / "logger-1"
    wait_for(lambda: len(read_log(log / "mmtt_incidents.log")) >= len(pairs(bed)) > 0, 60, "incidents")
    for node in reversed(NODES):
        bed.stop(node)
    named = [pair for pair in pairs(bed) if pair]
    assert len({pair[:4] for pair in named}) == 1, "one key"
    rows = read_log(log / "mmtt_incidents.log")
    assert len(rows) == len(named)
    assert {row["orig_h"].split(".")[1] for row in rows} == {"1", "2"}
    wanted = {(row["id.orig_h"], row["id.resp_h"]) for row in read_log(log / "conn.log")}
    assert {(row["orig_h"], row["resp_h"]) for row in rows} <= wanted
    notices = Counter(row["note"] for row in read_log(log / "notice.log"))
    assert notices["MMTT::Incident"] == min(len(rows), 100)
    key = bed.directory / "manager" / "mmtt-key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not (bed.directory / "worker-1" / "mmtt-key").exists()


def test_after_a_restart_hosts_have_the_names_they_had(bed):
    bed.zeek()
    fake_agent(bed)
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 1, 30, "the agent")
    bed.traffic(100, RATE)()
    wait_for(lambda: len(pairs(bed)) == 100, 30, "flows")
    bed.stop("zeek")
    bed.stop("fake")
    before = {*pairs(bed)}
    bed.zeek()
    fake_agent(bed)
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 1, 30, "the agent")
    bed.traffic(100, RATE, "again")()
    wait_for(lambda: len(pairs(bed)) == 200, 30, "flows")
    assert "" not in before and {*pairs(bed)} == before
    wait_for(lambda: len(read_log(bed.directory / "zeek" / "mmtt_incidents.log")) >= 100, 30, "incidents")
