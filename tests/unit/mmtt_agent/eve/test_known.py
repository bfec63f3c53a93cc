"""Which verdict is an event's: by end points and time."""

from __future__ import annotations

import json

from made_events import event, said, stamp, verdict

from mmtt_agent.community_id import community_id
from mmtt_agent.eve import events
from mmtt_agent.eve.known import Known


def known(*verdicts, **options) -> Known:
    made = Known(**options)
    for each in verdicts:
        made.add(each)
    return made


def find(of: Known, line: bytes):
    """What is said of a line's flow."""
    place = events.place(events.read(line))
    told = of.find(place)
    return json.loads(told) if told else told


def test_an_event_gets_the_verdict_on_its_flow_and_no_others():
    of = known(verdict(0.1), verdict(0.1, port=2, uid="C2"))
    assert find(of, event(0.2)) == said("C1")
    assert find(of, event(0.2, port=2, flow_id=2)) == said("C2")
    assert find(of, event(0.2, port=3, flow_id=3)) is None
    assert find(of, event(0.2, proto="UDP", flow_id=4)) is None


def test_a_flow_without_a_verdict_is_known_to_have_none():
    of = known(verdict(0.1, status="too_short"))
    assert find(of, event(0.2)) == b""
    of.add(verdict(20.0, window=1))
    assert find(of, event(0.2)) == said(window=1)


def test_ports_that_are_used_again_are_told_apart_by_time():
    of = known(verdict(0, uid="C1"), verdict(100, uid="C2"), verdict(200, uid="C3", status="too_short"))
    spans = {(-0.1, 3): "C1", (99.9, 101): "C2"}
    for number, (span, uid) in enumerate(spans.items()):
        assert find(of, event(500, span=span, flow_id=number))["uid"] == uid
    assert find(of, event(500, span=(199, 201), flow_id=3)) == b""
    assert find(of, event(500, span=(300, 301), flow_id=4)) is None
    assert [find(of, event(at, flow_id=10 + at))["uid"] for at in (0, 1, 100, 102)] == ["C1", "C1", "C2", "C2"]
    assert find(of, event(201, flow_id=9)) == b""


def test_in_whatever_order_verdicts_come():
    of = known(verdict(100, uid="C2"), verdict(0, uid="C1"), verdict(50, uid="C1", window=1))
    assert [find(of, event(at, flow_id=at // 100))["uid"] for at in (1, 60, 101)] == ["C1", "C1", "C2"]


def test_two_sensors_may_differ_a_little():
    of = known(verdict(10))
    assert find(of, event(9, span=(11, 12))) is not None and find(of, event(9, span=(8, 9), flow_id=2)) is not None
    assert find(of, event(9, span=(13, 14), flow_id=3)) is None and find(of, event(9, span=(6, 7), flow_id=4)) is None
    # Before its first payload there is a handshake.
    assert find(known(verdict(10)), event(3)) is not None and find(known(verdict(100)), event(3)) is None


def test_what_zeek_takes_for_several_connections_is_one_flow():
    of = known(verdict(0, uid="C1"), verdict(100, uid="C2", malicious=0.9), verdict(200, uid="C3"))
    whole = find(of, event(300, span=(-1, 250)))
    assert (whole["uid"], whole["malicious"], whole["malicious_score"]) == ("C1", True, 0.9)
    assert find(of, event(300, span=(150, 250), flow_id=2))["malicious"] is False


def test_windows_agree_on_one_verdict():
    first = verdict(0, malicious=0.2, service="web")
    worst = verdict(30, window=1, malicious=0.8, malicious_kind="c2", incident="I1", service="other")
    later = verdict(60, window=2, malicious=0.7, malicious_kind="scan", service="dns")
    expected = said(malicious=0.8) | {"malicious_kind": "c2", "incident": "I1"}
    for order in ((first, worst, later), (later, worst, first), (worst, first, later, worst)):
        assert find(known(*order), event(61)) == expected
    # One that is said to be malicious counts before one with a higher score that isn't.
    of = known(verdict(0), verdict(1, window=1, malicious=0.4))
    of.add(verdict(2, window=2, malicious=0.9)._replace(said=said(window=2, malicious=0.3) | {"malicious": True}))
    assert find(of, event(3))["malicious_score"] == 0.3


def test_a_new_flow_does_not_get_the_verdict_of_the_one_before_it():
    of = known(verdict(0, uid="C1"))
    assert find(of, event(1, flow_id=1))["uid"] == "C1"
    assert find(of, event(60, flow_id=2)) is None  # its own verdict is still to come
    assert find(of, event(60, flow_id=1))["uid"] == "C1"
    of.add(verdict(60, uid="C2"))
    assert find(of, event(61, flow_id=2))["uid"] == "C2"


def test_a_long_flow_keeps_its_verdict():
    of = known(verdict(0))
    for at in (0, 500, 5_000, 50_000):
        assert find(of, event(at)) == said()
    assert find(known(verdict(0)), event(50_000)) is None  # whose flow that is nobody knows
    assert find(known(verdict(0)), event(50_000, kind="alert", flow={"start": "x"})) is None


def test_an_alert_says_when_its_flow_began():

    of = known(verdict(0, uid="C1"))
    assert find(of, event(400, kind="alert", flow={"start": stamp(-1)}))["uid"] == "C1"
    assert find(of, event(400, kind="alert", flow_id=2, flow={"start": stamp(399)})) is None


def test_an_event_without_addresses_is_found_by_its_community_id():
    for seed in (0, 7):
        of = known(verdict(0), seed=seed)
        name = community_id(6, "10.0.0.2", 443, "10.0.0.1", 40_000, seed)
        fields = {"timestamp": json.loads(event(1))["timestamp"], "proto": "TCP", "community_id": name}
        line = json.dumps(fields).encode()
        assert find(of, line)["uid"] == "C1"
        of.add(verdict(0, port=9, uid="C9"))
        other = community_id(6, "10.0.0.1", 9, "10.0.0.2", 443, seed)
        assert find(of, line.replace(name.encode(), other.encode()))["uid"] == "C9"
        assert find(of, line.replace(name.encode(), b"1:x")) is None


def test_connections_are_forgotten_when_there_are_too_many():
    of = known(*(verdict(port, port=port, uid=f"C{port}") for port in range(1, 8)), most=5)
    assert (len(of), of.forgotten, of.verdicts) == (5, 2, 7)
    assert [find(of, event(port, port=port, flow_id=port)) is not None for port in range(1, 8)] == [False] * 2 + [
        True
    ] * 5
    for number in range(20):
        of.add(verdict(1_000 + number * 100, port=9, uid=f"D{number}"))
    assert len(of) == 5 and find(of, event(2_901, port=9))["uid"] == "D19"
