"""Incidents through a real Zeek and the `mmtt agent` program, with a tiny bundle: all of them, the same each time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_captures import ACK, RST, SYN, A, B, Packet, conversation, framed, pcap, tcp, udp
from places import ZEEK_SCRIPTS
from tiny_bundle import make_bundle, with_incidents, with_kinds

from mmtt_agent.zeek import find as find_zeek

ZEEK = find_zeek()
pytestmark = pytest.mark.skipif(ZEEK is None, reason="no Zeek")
SECOND = 1_000_000
BEACON = [packet for i in range(40) for packet in conversation(A, B, 40_000 + i, start=12 * i * SECOND)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"), **with_incidents())


def zeek(directory: Path, capture: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    """Zeek over the capture, with its logs in the directory."""
    directory.mkdir()
    program = f"{sys.executable} -c 'from mmtt_agent.cli import main; main()' agent --bundle {bundle}"
    return subprocess.run(
        [ZEEK, "-C", "-r", capture, ZEEK_SCRIPTS, "LogAscii::use_json=T"],
        cwd=directory,
        env=os.environ | {"MMTT_AGENT": program},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def run(directory: Path, capture: Path, bundle: Path) -> None:
    """The same, where nothing goes wrong."""
    done = zeek(directory, capture, bundle)
    assert done.returncode == 0 and "mmtt" not in done.stdout + done.stderr


def rows(directory: Path, log: str) -> list[dict]:
    path = directory / f"{log}.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def capture(directory: Path, packets: list[Packet], cut: int = 0) -> Path:
    path = directory / "capture.pcap"
    content = pcap(framed(packets))
    path.write_bytes(content[: len(content) - cut])
    return path


def without_uids(directory: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "uids"} for row in rows(directory, "mmtt_incidents")]


def test_a_beacon_is_one_incident_and_its_later_windows_carry_it(tmp_path, bundle):
    run(tmp_path / "zeek", capture(tmp_path, BEACON), bundle)
    found = rows(tmp_path / "zeek", "mmtt_incidents")
    assert found[0]["state"] == "opened" and found[-1]["state"] == "closed"
    assert {(row["id"], row["orig_h"], row["resp_h"], row["resp_p"]) for row in found} == {(found[0]["id"], A, B, 443)}
    assert found[-1]["connections"] == 40
    assert found[0]["first"] == pytest.approx(1_700_000_000.03)
    windows = rows(tmp_path / "zeek", "mmtt")
    assert {*found[-1]["uids"]} <= {row["uid"] for row in windows}
    carried = [row.get("incident") for row in sorted(windows, key=lambda row: row["ts"])]
    assert carried[0] is None and carried[-1] == found[0]["id"]
    (notice,) = [row for row in rows(tmp_path / "zeek", "notice") if row["note"] == "MMTT::Incident"]
    assert notice["src"] == A and notice["dst"] == B


def test_the_same_capture_gives_the_same_incidents(tmp_path, bundle):
    made = capture(tmp_path, BEACON)
    for name in ("one", "two"):
        run(tmp_path / name, made, bundle)
    assert without_uids(tmp_path / "one") == without_uids(tmp_path / "two") != []


def test_through_zeek_and_without_the_same(tmp_path, bundle):
    """Beacons, probes that nobody answers or that are refused, and lookups that are too short for a verdict."""
    probes = [Packet(i * SECOND // 5, tcp(A, 50_000 + i, f"10.1.0.{1 + i}", 22, SYN, seq=1)) for i in range(60)]
    refused = [
        packet
        for i in range(40)
        for packet in (
            Packet(i * SECOND, tcp(B, 50_000 + i, A, 1 + i, SYN, seq=1)),
            Packet(i * SECOND + 500, tcp(A, 1 + i, B, 50_000 + i, RST | ACK, ack=2)),
        )
    ]
    lookups = [
        packet
        for i in range(200)
        for packet in (
            Packet(i * SECOND * 2 + 7, udp(A, 20_000 + i, "10.1.1.1", 53, size=40)),
            Packet(i * SECOND * 2 + 900, udp("10.1.1.1", 53, A, 20_000 + i, size=90)),
        )
    ]
    made = capture(tmp_path, sorted(BEACON + probes + refused + lookups, key=lambda packet: packet.time))
    assert zeek(tmp_path / "zeek", made, bundle).returncode == 0
    program = [sys.executable, "-c", "from mmtt_agent.cli import main; main()", "classify"]
    (tmp_path / "classify").mkdir()
    subprocess.run(
        [*program, "--bundle", bundle, "--format", "json", "-o", tmp_path / "classify", made], check=True, timeout=100
    )
    found = without_uids(tmp_path / "zeek")
    assert len(found) > 20 and found == without_uids(tmp_path / "classify")


def test_where_a_capture_is_cut_off_its_incidents_are_written(tmp_path, bundle):
    run(tmp_path / "whole", capture(tmp_path, BEACON), bundle)
    done = zeek(tmp_path / "cut", capture(tmp_path, BEACON, cut=10), bundle)
    assert done.returncode != 0 and "truncated dump file" in done.stderr
    assert without_uids(tmp_path / "cut") == without_uids(tmp_path / "whole") != []


def test_a_scan_without_a_single_verdict(tmp_path, tmp_path_factory):
    unit = {"bias": -4.0, "weights": {"failed": 1.0, "fan": 1.0}, "thresholds": {"0.1%": 0.9}}
    section = with_incidents()["incidents"] | {"originator": unit, "pair": unit}
    bundle = make_bundle(tmp_path_factory.mktemp("scan"), **with_kinds(), incidents=section)
    probes = [Packet(i * SECOND, tcp(A, 50_000 + i, f"10.1.0.{1 + i}", 22, SYN, seq=1)) for i in range(60)]
    run(tmp_path / "zeek", capture(tmp_path, probes), bundle)
    found = rows(tmp_path / "zeek", "mmtt_incidents")
    assert {(row["orig_h"], row.get("resp_h"), row["kind"]) for row in found} == {(A, None, "scan")}
    assert rows(tmp_path / "zeek", "mmtt") == []


def test_a_model_that_knows_of_none_finds_none_and_zeek_ends(tmp_path, tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("plain"), **with_kinds())
    run(tmp_path / "zeek", capture(tmp_path, BEACON), bundle)
    assert rows(tmp_path / "zeek", "mmtt_incidents") == []
    assert len(rows(tmp_path / "zeek", "mmtt")) == 40
