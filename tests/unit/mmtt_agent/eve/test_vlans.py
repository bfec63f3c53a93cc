"""Flows of the same end points in several VLANs: which of them a verdict is on nobody knows."""

from __future__ import annotations

from made_events import event, told, verdict

from mmtt_agent.eve.enrich import Enricher
from mmtt_agent.eve.known import Known


def passed(*lines: bytes, wait: float = 0.0) -> tuple[list[bool], int]:
    """Whether each has the verdict, and how many have none as there are several VLANs."""
    known = Known()
    known.add(verdict(0.1))
    enricher = Enricher(known, wait)
    out = enricher.take(lines, 0.0) + enricher.end()
    return [told(line) is not None for line in out], enricher.counts.several_vlans


def test_in_one_vlan_a_flow_has_its_verdict():
    assert passed(event(0.2, vlan=[7]), event(0.3, vlan=[7], span=(0, 1))) == ([True, True], 0)
    assert passed(event(0.2, vlan=[7]), event(900, vlan=[8], flow_id=2)) == ([True, False], 0)


def test_in_two_at_once_none_has():
    one, other = event(0.2, vlan=[7]), event(0.4, vlan=[8], flow_id=2)
    assert passed(one, other, one) == ([True, False, False], 2)
    assert passed(event(0.2, vlan=[7]), event(0.4, flow_id=2)) == ([True, False], 1)
    assert passed(event(0.2, vlan=[7, 1]), event(0.4, vlan=[7, 2], flow_id=2)) == ([True, False], 1)


def test_while_they_wait_both_are_seen_before_either_has_passed():
    known = Known()
    enricher = Enricher(known, 8.0)
    assert enricher.take([event(0.2, vlan=[7]), event(0.4, vlan=[8], flow_id=2)], 0.0) == []
    known.add(verdict(0.1))
    assert [told(line) for line in enricher.look(0.1)] == [None, None] and enricher.counts.several_vlans == 2


def test_one_flow_whose_directions_are_in_different_vlans_has_its_verdict():
    assert passed(event(0.2, vlan=[7]), event(0.4, vlan=[8])) == ([True, True], 0)
