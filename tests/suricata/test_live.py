"""Live on a link: Suricata's alerts carry the verdict on their flow, by whatever verdicts come from."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from eve_program import Eve, wait_for
from program import MMTT, mmtt
from watched_link import stripped, suricata, traffic, whole

from mmtt_agent import commands

RECORD = Path(__file__).with_name("record.py")
FLOWS = 80


def by_sniff(bed, feed: Path):
    """`mmtt sniff` on the same link."""
    command = commands.load("sniff")
    if command is None or not any(option.name == "interface" for option in command.params):
        pytest.skip("mmtt sniff is not there yet")
    bed.start(
        "sniff", *MMTT, "sniff", "-i", "seen", "-C", "--format", "eve", "--to", f"unix:{feed}", "--user", "root",
        "--metrics-listen", "off",
    )  # fmt: skip
    wait_for(lambda: "seen" in bed.said("sniff"))
    return lambda: None


def by_classify(bed, feed: Path):
    """A recording that is classified when the traffic is over."""
    recorded = bed.directory / "recorded.pcap"
    bed.start("record", sys.executable, RECORD, "seen", recorded)
    wait_for(lambda: recorded.exists() and recorded.stat().st_size)

    def tell() -> None:
        bed.stop("record")
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(str(feed))
            ours.sendall(mmtt("classify", recorded, "-C", "--format", "eve").stdout.encode())

    return tell


@pytest.mark.parametrize("begin", [by_sniff, by_classify])
@pytest.mark.parametrize("kind", ["unix_stream", "regular"])
def test_alerts_carry_the_verdict(bed, tmp_path, begin, kind):
    feed, path, out = tmp_path / "feed", tmp_path / "eve.sock", tmp_path / "out.json"
    log = tmp_path / "suricata" / "eve.json"
    of_socket = kind == "unix_stream"
    log.parent.mkdir()
    arguments = (f"unix:{path}",) if of_socket else (log, "--follow")
    with Eve(*arguments, "--verdicts", f"unix:{feed}", "-o", out, "--wait", 40, scratch=tmp_path) as eve:
        wait_for(feed.exists)
        suricata(bed, [(kind, str(path) if of_socket else "eve.json")])
        tell = begin(bed, feed)
        traffic(bed, FLOWS)
        tell()
        wait_for(lambda: sum(b'"alert"' in line for line in whole(out)) >= FLOWS, 60)
        bed.stop("suricata", signal.SIGTERM)
        # It waits for nobody: what finds no room in its socket when all flows end at once it drops, and says so.
        said = (log.parent / "stdout").read_text()
        dropped = sum(map(int, re.findall(r"(\d+) events were dropped", said)))
        wait_for(lambda: sum(b'"event_type":"flow"' in line for line in whole(out)) >= FLOWS - dropped, 60)
        wait_for(lambda: of_socket or len(whole(out)) == len(whole(log)))
        assert eve.end() == 0
    events = [json.loads(line) for line in whole(out)]
    if not of_socket:
        assert stripped(out.read_bytes()) == log.read_bytes()
    alerts = [event for event in events if event["event_type"] == "alert"]
    assert len(alerts) == FLOWS and all(event.get("mmtt", {}).get("status") == "ok" for event in alerts)
    flows = [event for event in events if event["event_type"] == "flow" and event["proto"] == "TCP"]
    assert FLOWS - dropped <= len(flows) <= FLOWS and all("mmtt" in event for event in flows)
    told = {event["flow_id"]: event["mmtt"]["uid"] for event in flows}
    for event in alerts:
        assert told.get(event["flow_id"], event["mmtt"]["uid"]) == event["mmtt"]["uid"]
    assert len({event["mmtt"]["uid"] for event in alerts}) == FLOWS
