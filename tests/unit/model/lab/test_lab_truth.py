"""Truth is joined by the activity's own address; a flow at no activity's address is found."""

from __future__ import annotations

import pytest
import zstandard
from lab_run import SCENARIO, udp

from mmtt_model.lab import truth
from mmtt_model.lab.report import counts, draw
from mmtt_model.lab.scenario import parse, plan
from mmtt_model.lab.wire import Tap


def _capture(tmp_path, packets):
    path = tmp_path / "laptop.pcap"
    tap = Tap(path, 160)
    for time, data in packets:
        tap.packet(time, data)
    tap.file.close()
    return truth.flows_of(path)


def test_same_port_two_activities_are_told_apart_by_address(tmp_path):
    made = plan(parse(SCENARIO, "test"), 0)
    web, beacon = (step.address for step in made.steps)
    flows, packets = _capture(
        tmp_path,
        [
            (1000.0, udp("10.77.0.1", web, (40000, 443), 100)),
            (1000.5, udp("10.77.0.1", beacon, (40000, 443), 50)),
            (1001.25, udp(web, "10.77.0.1", (443, 40000), 900)),
        ],
    )
    joined, unlabelled = truth.join(flows, made)
    assert packets == 3 and not unlabelled
    rows = [truth.row("a", flow, step, {"curl": "7.88.1"}, "cable") for flow, step in joined]
    assert [(row["malicious"], row["kind"]) for row in rows] == [(0, ""), (1, "beacon_https")]
    assert (rows[0]["packets"], rows[0]["bytes"]) == (2, 1056)
    assert (rows[0]["first_seen_ms"], rows[0]["last_seen_ms"]) == (1_000_000, 1_001_250)
    assert rows[0]["client_version"] == "7.88.1"


def test_a_flow_that_nobody_started_is_found(tmp_path):
    flows, _ = _capture(tmp_path, [(1000.0, udp("10.77.0.1", "10.77.0.2", (40000, 443), 100))])
    joined, unlabelled = truth.join(flows, plan(parse(SCENARIO, "test"), 0))
    assert not joined
    assert [(flow.orig, flow.resp_port) for flow in unlabelled] == [("10.77.0.1", 443)]


def test_columns_begin_as_the_public_ones_and_the_report_counts_them(tmp_path):
    made = plan(parse(SCENARIO, "test"), 0)
    flow = truth.Flow(1_000_000, 2_000_000, 6, "10.77.0.1", 40000, made.steps[1].address, 443, 10, 6, 4000)
    text = truth.table(truth.COLUMNS, [truth.row("a.pcap.zst", flow, made.steps[1], {}, "cable")])
    assert text.split("\t")[:10] == [
        "capture",
        "first_seen_ms",
        "last_seen_ms",
        "proto",
        "src_ip",
        "src_port",
        "dst_ip",
        "dst_port",
        "packets",
        "bytes",
    ]
    (tmp_path / "flows.tsv.zst").write_bytes(zstandard.compress(text.encode()))
    text = counts(tmp_path)
    assert "1 captures, 0 of them with benign and malicious flows" in text
    assert "1 flows, 1 usable (4 payload packets or more), 1 of these malicious" in text
    assert "beacon_https" in text


def test_the_report_draws_a_picture_per_service(tmp_path):
    pytest.importorskip("matplotlib", reason="no matplotlib")
    made = plan(parse(SCENARIO, "test"), 0)
    target = made.steps[0].address
    flows, _ = _capture(tmp_path, [(1000.0 + turn, udp("10.77.0.1", target, (40000, 443), 100)) for turn in range(6)])
    rows = [truth.row("laptop.pcap", flow, step, {}, "cable") for flow, step in truth.join(flows, made)[0]]
    (tmp_path / "captures").mkdir()
    (tmp_path / "laptop.pcap").rename(tmp_path / "captures" / "laptop.pcap")
    (tmp_path / "flows.tsv.zst").write_bytes(zstandard.compress(truth.table(truth.COLUMNS, rows).encode()))
    assert [path.name for path in draw(tmp_path)] == ["web.png"]


def test_a_tunnelled_flow_tells_the_tunnel_and_the_version_of_its_programs():
    made = plan(parse(SCENARIO.replace("to: server}", "to: server, through: openvpn_udp}", 1), "test"), 0)
    flow = truth.Flow(1_000_000, 2_000_000, 17, "10.77.0.1", 40000, made.steps[0].address, 1194, 10, 6, 4000)
    row = truth.row("a.pcap.zst", flow, made.steps[0], {"openvpn": "2.6.3"}, "cable")
    assert (row["service"], row["tunnel"], row["tunnel_version"], row["inner_service"]) == (
        "tunnel",
        "openvpn_udp",
        "openvpn 2.6.3",
        "web",
    )
