"""A cluster of manager, logger, two proxies and two workers, and agents that come and go under load."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter

import pytest
from bed import NODES, read_log, wait_for

RATE = 300.0


def stop_all(bed) -> None:
    """Workers first: their last rows go through the others."""
    for node in reversed(NODES):
        bed.stop(node)


def answered(bed, agent: str) -> int:
    """Flows that an agent has answered, by its last line of counts."""
    found = re.findall(r"(\d+) flows answered ok", bed.said(agent))
    return int(found[-1]) if found else 0


@pytest.mark.parametrize("backend", ["ZeroMQ", "Broker"])
def test_every_connection_has_a_row_while_agents_come_and_go(bed, backend):
    bed.cluster(backend)
    agents = ["one", "two", "three"]
    for name in agents:
        bed.agent(name, "--threads", "1")
    bed.use(3)
    ends = [bed.traffic(None, RATE, f"traffic-{n}", "--network", n) for n in (1, 2)]
    log = bed.directory / "logger-1"
    wait_for(lambda: len(read_log(log / "mmtt.log")) > 2 * RATE, 60, "rows")
    bed.stop("two", signal.SIGKILL)
    bed.use(2)
    bed.agent("four")
    bed.use(3)
    time.sleep(3)
    sent = sum(end()["flows"] for end in ends)
    wait_for(lambda: len(read_log(log / "mmtt.log")) >= sent, 60, "rows")
    for name in ("one", "three", "four"):
        bed.stop(name)
    time.sleep(3)
    stop_all(bed)

    rows, connections = read_log(log / "mmtt.log"), read_log(log / "conn.log")
    assert len(connections) == sent
    assert {row["uid"] for row in connections} == {row["uid"] for row in rows}
    assert max(Counter((row["uid"], row["window"]) for row in rows).values()) == 1
    # What was with the agent that died has gone to another.
    statuses = Counter(row["status"] for row in rows)
    assert statuses == {"ok": sent}
    assert any(float(row["latency"]) > 2 for row in rows), "what was with the dead agent waited until it was given up"
    shares = {name: answered(bed, name) for name in ("one", "three", "four")}
    assert all(shares.values()) and sum(shares.values()) < sent, "the one that died had its share, too"
    notices = [row for row in read_log(log / "notice.log") if row["note"] == "MMTT::Agent_Lost"]
    assert len(notices) == 1 and "two" in notices[0]["msg"]


@pytest.mark.parametrize("backend", ["ZeroMQ", "Broker"])
def test_one_agent_serves_both_workers(bed, backend):
    bed.cluster(backend)
    bed.agent("one")
    bed.use(1)
    ends = [bed.traffic(300, RATE, f"traffic-{n}", "--network", n) for n in (1, 2)]
    sent = sum(end()["flows"] for end in ends)
    log = bed.directory / "logger-1"
    wait_for(lambda: len(read_log(log / "mmtt.log")) >= sent, 60, "rows")
    stop_all(bed)
    rows = read_log(log / "mmtt.log")
    assert Counter(row["status"] for row in rows) == {"ok": sent}
    networks = Counter(row["id.orig_h"].split(".")[1] for row in rows)
    assert networks == {"1": 300, "2": 300}
