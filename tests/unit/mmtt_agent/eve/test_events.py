"""What is taken for an event, and where it belongs."""

from __future__ import annotations

import json

import pytest
from made_events import BEGIN, event, stamp

from mmtt_agent.eve import events


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"x", b"[1]\n", b"1\n", b"null", b'"a"', b"{", b'{"a":1', b'{"a":1}x', b'{"a":1}{"a":1}',
        b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\xff"}', b'{"a":"\x00"}', b"\x00{}", b'{"a":"\t"}', b"[" * 100_000,
        b'{"a":' * 50_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b"{'a':1}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_none(line):
    assert events.read(line) is None


@pytest.mark.parametrize(
    "line", [b"{}", b'{"a":1}\n', b' \t{"a":{}}\r\n', '{"ä":"\\ud800"}\n'.encode(), b'{"a":1,"a":2}']
)
def test_what_is_one_is_read(line):
    assert events.read(line) is not None


def test_a_field_that_is_named_twice_is_seen_at_any_depth():
    assert events.is_ambiguous(b'{"a":1,"a":2}') and events.is_ambiguous(b'{"b":{"a":1,"\\u0061":2}}')
    assert not events.is_ambiguous(b'{"a":1,"b":{"a":2}}')


def place(line: bytes):
    found = events.read(line)
    assert found is not None
    return events.place(found)


def test_both_directions_and_all_spellings_are_one_flow():
    here = place(event(ends=("10.0.0.1", "10.0.0.2")))
    there = json.loads(event())
    there |= {"src_ip": "10.0.0.2", "src_port": 443, "dest_ip": "10.0.0.1", "dest_port": 40_000}
    assert here and here.key == events.place(there).key
    full = place(event(ends=("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:0db8:0000:0000:0000:0000:0000:0002")))
    assert full and full.key == place(event(ends=("2001:db8::1", "2001:db8::2"))).key
    assert len({place(line).key for line in (event(), event(proto="UDP"), event(port=1))}) == 3
    assert events.ends(here.key) == (6, bytes((10, 0, 0, 1)), 40_000, bytes((10, 0, 0, 2)), 443)


@pytest.mark.parametrize(
    "changed",
    [
        {"proto": "ICMP"}, {"proto": None}, {"proto": ["TCP"]}, {"src_ip": "x"}, {"src_ip": 1}, {"src_ip": "\ud800"},
        {"src_ip": "::1"}, {"src_ip": "1.2.3.4\0"}, {"src_port": -1}, {"src_port": 65_536}, {"src_port": True},
        {"src_port": 1.0}, {"dest_ip": None}, {"timestamp": None}, {"timestamp": "yesterday"}, {"timestamp": 1},
        {"timestamp": "2026-11-23T14:15:14.82255+0000"}, {"timestamp": "2026-13-23T14:15:14.822555+0000"},
        {"timestamp": "2026-11-23T14:15:14.822555"}, {"timestamp": "0000-11-23T14:15:14.822555+0000"},
    ],
)  # fmt: skip
def test_an_event_that_lacks_what_it_is_told_by_is_of_no_flow(changed):
    assert events.place(json.loads(event()) | changed) is None


def test_times_are_those_of_any_zone():
    assert events.time(stamp(1.5)) == BEGIN + 1_500_000
    same = ("2026-11-23T14:15:14.822555+0000", "2026-11-23T15:45:14.822555+0130", "2026-11-23T14:15:14.822555Z")
    assert len({events.time(text) for text in same}) == 1
    assert events.time("1960-01-01T00:00:00.000001+0000") == -315_619_200_000_000 + 1


def test_a_flow_says_when_it_was_and_an_alert_when_it_began():
    flow = place(event(at=90, span=(1, 2)))
    assert flow and (flow.start, flow.end) == (BEGIN + 1_000_000, BEGIN + 2_000_000)
    netflow = place(event(kind="netflow", netflow={"start": stamp(3), "end": stamp(4)}))
    assert netflow and (netflow.start, netflow.end) == (BEGIN + 3_000_000, BEGIN + 4_000_000)
    alert = place(event(kind="alert", flow={"start": stamp(1)}))
    assert alert and (alert.start, alert.end) == (BEGIN + 1_000_000, None)
    odd = place(event(kind="alert", flow=[1], flow_id="x"))
    assert odd and (odd.start, odd.flow_id) == (None, None)


def test_without_addresses_the_community_id_is_left():
    fields = json.loads(event(community_id="1:abc="))
    for name in ("src_ip", "src_port", "dest_ip", "dest_port"):
        del fields[name]
    assert events.place(fields).key == "1:abc="
    assert events.place(fields | {"community_id": 1}) is None
    for odd in ({"proto": None}, {"proto": ["TCP"]}, {"src_ip": "x"}, {"src_port": None}, {"dest_port": True}):
        assert events.place(json.loads(event(community_id="1:abc=")) | odd).key == "1:abc="
    del fields["proto"]
    assert events.place(fields).key == "1:abc="
    assert events.place(fields | {"proto": "ICMP"}) is None  # never has a verdict: is not waited for
