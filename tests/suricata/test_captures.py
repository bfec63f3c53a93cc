"""On captures, by real Suricata: the events of flows that have a verdict carry it, and are what they were."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sensor
from eve_program import Eve, wait_for
from places import DATA, ROOT, ZEEK_SCRIPTS
from program import mmtt

from mmtt_agent import logs
from mmtt_agent.eve import events
from mmtt_agent.zeek import find as find_zeek

RAW = ROOT.parent / "shared" / "data" / "raw"
#: Of the share of flow events that carry their flow's verdict.
BAR = 0.999
#: One alert a flow, on its first payload.
ALERTS = "".join(
    f'alert {proto} any any -> any any (msg:"payload"; dsize:>0; flowbits:isnotset,a; flowbits:set,a; sid:{sid};)\n'
    for sid, proto in enumerate(("tcp", "udp"), 1)
)


def captures() -> list:
    """Those of the tests, and 60 of ../shared if it is there."""
    found = [*DATA.glob("*.pcap")]
    raw = sorted(path for path in RAW.glob("*.pcap*") if path.is_file()) if RAW.is_dir() else []
    raw = random.Random(19).sample(raw, min(60, len(raw)))
    return [pytest.param(path, id=path.name) for path in [*found, *raw]]


def verdicts(rows: list[dict]) -> dict[bytes, list[int]]:
    """When the windows with a verdict were, by their flows' end points."""
    found: dict[bytes, list[int]] = {}
    for row in rows:
        if row["status"] == "ok":
            ends = (row["proto"], row["id.orig_h"], row["id.orig_p"], row["id.resp_h"], row["id.resp_p"])
            found.setdefault(events.key(*ends), []).append(round(row["ts"] * 1e6))
    return found


def has_verdict(event: dict, known: dict[bytes, list[int]]) -> bool:
    """Whether there is a window between the begin and the end of the event's flow."""
    ends = (event[name] for name in ("proto", "src_ip", "src_port", "dest_ip", "dest_port"))
    start, end = (events.time(event["flow"][name]) for name in ("start", "end"))
    return any(start <= ts <= end for ts in known.get(events.key(*ends), []))


def in_several_vlans(lines: list[str]) -> set[bytes]:
    """End points that flows of more than one VLAN have, whose verdicts can't be told apart."""
    vlans: dict[bytes, set[tuple[int, ...]]] = {}
    for event in map(json.loads, lines):
        if event["event_type"] == "flow" and event["proto"] in ("TCP", "UDP"):
            ends = events.key(*(event[name] for name in ("proto", "src_ip", "src_port", "dest_ip", "dest_port")))
            vlans.setdefault(ends, set()).add(tuple(event.get("vlan", ())))
    return {ends for ends, of in vlans.items() if len(of) > 1}


SEEN: Counter[str] = Counter()


@pytest.mark.parametrize("capture", captures())
def test_events_carry_the_verdict_on_their_flow(capture: Path, tmp_path):
    eve = sensor.on_capture(capture, tmp_path / "suricata", ALERTS)
    log = tmp_path / "mmtt.log"
    log.write_text(mmtt("classify", capture, "-C", "--format", "json").stdout)
    done = mmtt("eve", eve, "--verdicts", log)
    assert done.returncode == 0
    before, after = eve.read_bytes(), done.stdout.encode("utf-8", "surrogateescape")
    assert re.sub(rb',"mmtt":\{[^}]*\}', b"", after) == before
    known = verdicts([json.loads(line) for line in log.read_text().splitlines()])
    missing, wrong = [], []
    lines = after.decode().splitlines()
    unclear = in_several_vlans(lines)
    for line in lines:
        event = json.loads(line)
        told = event.get("mmtt")
        SEEN[f"{event['event_type']} {'with' if told else 'without'}"] += 1
        if event["event_type"] != "flow" or event["proto"] not in ("TCP", "UDP"):
            assert told is None or event["event_type"] != "stats"
            continue
        ends = events.key(*(event[name] for name in ("proto", "src_ip", "src_port", "dest_ip", "dest_port")))
        if has_verdict(event, known) and ends not in unclear:
            SEEN["flows"] += 1
            if told is None:
                missing.append(line)
        if told and ends not in known:
            wrong.append(line)
    SEEN["missing"] += len(missing)
    assert not wrong
    assert len(missing) <= 1, missing


def test_nearly_all_of_them_do():
    if not SEEN["flows"]:
        pytest.skip("the test before this one has not run")
    print(dict(sorted(SEEN.items())))
    assert 1 - SEEN["missing"] / SEEN["flows"] >= BAR
    for kind in ("alert", "tls", "quic", "ssh", "dns", "flow"):
        assert SEEN[f"{kind} with"], kind


def test_alerts_of_flows_with_a_verdict_carry_it_whatever_the_community_id_is(tmp_path):
    """Suricata writes none unless it is told to; neither makes a difference."""
    log = tmp_path / "mmtt.log"
    log.write_text(mmtt("classify", DATA / "lab.pcap", "--format", "json").stdout)
    told = []
    for number, with_id in enumerate((False, True)):
        eve = sensor.on_capture(DATA / "lab.pcap", tmp_path / str(number), ALERTS, community_id=with_id)
        assert (b"community_id" in eve.read_bytes()) is with_id
        lines = [json.loads(line) for line in mmtt("eve", eve, "--verdicts", log).stdout.splitlines()]
        told.append([(each["src_port"], each.get("mmtt")) for each in lines if each["event_type"] == "alert"])
    assert sorted(map(str, told[0])) == sorted(map(str, told[1]))
    assert sum(verdict is not None for _, verdict in told[0]) >= 0.9 * len(told[0]) > 0


def test_a_capture_given_with_the_events_is_classified_first(tmp_path):
    eve = sensor.on_capture(DATA / "office.pcap", tmp_path)
    log, ours = tmp_path / "mmtt.log", tmp_path / "ours.json"
    log.write_text(mmtt("classify", DATA / "office.pcap", "--format", "tsv").stdout)
    ours.write_text(mmtt("classify", DATA / "office.pcap", "--format", "eve").stdout)
    of_capture = mmtt("eve", eve, "--capture", DATA / "office.pcap").stdout
    assert of_capture.count('"mmtt":') > 20
    for verdicts_from in (log, ours):
        lines = zip(
            of_capture.splitlines(), mmtt("eve", eve, "--verdicts", verdicts_from).stdout.splitlines(), strict=True
        )
        for one, other in lines:
            said = [json.loads(line).get("mmtt", {}) for line in (one, other)]
            assert said[0].get("uid") == said[1].get("uid") and said[0].get("service") == said[1].get("service")


@pytest.mark.parametrize("kind", ["unix_stream", "unix_dgram"])
def test_by_a_socket_comes_what_comes_by_a_file(tmp_path, kind):
    ours = tmp_path / "ours.json"
    ours.write_text(mmtt("classify", DATA / "office.pcap", "--format", "eve").stdout)
    eve = sensor.on_capture(DATA / "office.pcap", tmp_path / "file", ALERTS)
    expected = mmtt("eve", eve, "--verdicts", ours).stdout.splitlines()
    path, out = tmp_path / "eve.sock", tmp_path / "out.json"
    with Eve(
        f"{kind}:{path}".replace("_stream", ""), "--verdicts", ours, "-o", out, "--wait", 0, scratch=tmp_path
    ) as program:
        wait_for(path.exists)
        sensor.on_capture(DATA / "office.pcap", tmp_path / "socket", ALERTS, output=(kind, str(path)))
        wait_for(lambda: out.exists() and out.read_bytes().count(b"\n") >= len(expected))
        assert program.end() == 0
    # Flows have other numbers in another run, and end in another order.
    assert sorted(map(told_apart, out.read_text().splitlines())) == sorted(map(told_apart, expected))


def told_apart(line: str) -> str:
    event = json.loads(line)
    if event["event_type"] == "stats":
        return "stats"
    return json.dumps({name: value for name, value in event.items() if name not in ("flow_id", "timestamp")})


@pytest.mark.skipif(find_zeek() is None, reason="no Zeek")
def test_zeeks_verdicts_join_suricatas_events(tmp_path):
    """Both beside each other, as they are."""
    program = tmp_path / "agent"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from mmtt_agent.cli import main; main()" agent "$@"\n')
    program.chmod(0o755)
    subprocess.run(
        [find_zeek(), "-C", "-r", DATA / "lab.pcap", ZEEK_SCRIPTS], cwd=tmp_path, timeout=110, check=True,
        capture_output=True, env=os.environ | {"MMTT_AGENT": str(program)},
    )  # fmt: skip
    eve = sensor.on_capture(DATA / "lab.pcap", tmp_path / "suricata", ALERTS)
    log = tmp_path / "mmtt.log"
    rows = [row | {"ts": row["ts"] / 1e6} for row in logs.records(log, logs.Damaged())]
    known = verdicts(rows)
    found = [json.loads(line) for line in mmtt("eve", eve, "--verdicts", log).stdout.splitlines()]
    flows = [event for event in found if event["event_type"] == "flow" and event["proto"] in ("TCP", "UDP")]
    with_verdict = [event for event in flows if has_verdict(event, known)]
    assert len(with_verdict) > 30 and all("mmtt" in event for event in with_verdict)
    assert all("mmtt" in event for event in found if event["event_type"] in ("ssh", "quic"))
