"""More than the agent can take: what is shed is counted, memory stays where it was, and service returns by itself."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

from bed import by_status, read_log, resident, wait_for

FAKE_AGENT = Path(__file__).parents[1] / "zeek" / "fake_agent.py"
CREDIT, MANY, FEW = 256, 6000, 300


def test_what_an_agent_cannot_take_is_shed_and_counted(bed):
    zeek = bed.zeek()
    agent = bed.start(
        "agent", sys.executable, FAKE_AGENT, "--url", "ws://127.0.0.1:27759/v1/messages/json",
        "--each", "0.004", "--credit", CREDIT,
    )  # fmt: skip
    wait_for(lambda: bed.metrics()["mmtt_agents"] == 1, 30, "the agent's use")
    # 250 windows a second are answered.
    flood = bed.traffic(MANY, 1000, "flood")
    wait_for(lambda: bed.metrics()["mmtt_windows_total shed"] > 100, 60, "windows that are shed")
    outstanding, sizes = [], []
    while bed.running["flood"].poll() is None or bed.metrics()["mmtt_outstanding_windows"] > 0:
        outstanding.append(bed.metrics()["mmtt_outstanding_windows"])
        sizes.append((resident(zeek), resident(agent)))
        time.sleep(0.3)
    flood()
    time.sleep(7)
    shed = bed.metrics()["mmtt_windows_total shed"]
    # What waits for credit is less than another batch.
    assert max(outstanding) < CREDIT + 64
    assert shed > MANY / 4
    after = bed.traffic(FEW, 50, "after", "--first", MANY)
    after()
    time.sleep(7)
    wait_for(lambda: bed.metrics()["mmtt_outstanding_windows"] == 0, 30, "the last answers")
    counts = bed.metrics()
    assert counts["mmtt_windows_total shed"] == shed, "nothing is shed once there is less"
    # The first third is Zeek's own: connections that it keeps for seconds.
    for side in (0, 1):
        seen = [size[side] for size in sizes]
        third = len(seen) // 3
        assert max(seen[third:]) < max(seen[: third + 1]) + 25
    bed.stop("zeek")
    rows = read_log(bed.directory / "zeek" / "mmtt.log")
    statuses = Counter(row["status"] for row in rows)
    assert set(statuses) == {"ok", "shed"} and statuses.total() == MANY + FEW
    assert statuses == by_status(counts)
    assert max(Counter((row["uid"], row["window"]) for row in rows).values()) == 1
    by_uid = {row["uid"]: row for row in read_log(bed.directory / "zeek" / "conn.log")}
    assert len([row for row in by_uid.values() if row["proto"] == "tcp"]) == MANY + FEW, (
        "no line of conn.log is missing"
    )
