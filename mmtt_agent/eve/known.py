"""The verdicts that are known, by flow, and which of them an event's flow has."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..community_id import community_id
from .events import Place, ends

_SECOND = 1_000_000
#: Two sensors' clocks, and what they take for a flow's first packet, may differ by so much.
SLACK = 2 * _SECOND
#: An event may come so long before its flow's first payload, as one on its first packet does.
AHEAD = 60 * _SECOND
#: An event may come so long after its flow's latest window: of a long flow only its begin is looked at.
LASTS = 600 * _SECOND
#: What the most malicious of a flow's windows says for all of them.
_BY_THE_WORST = ("malicious", "malicious_score", "malicious_kind", "incident")


class Verdict(NamedTuple):
    """A window's verdict.

    Attributes:
        key: of the connection's end points (:func:`.events.key`).
        ts: µs since 1970, the window's first payload packet.
        said: the object ``mmtt``; None where the window is known, but has no verdict.
    """

    key: bytes
    uid: str
    ts: int
    said: dict[str, Any] | None


@dataclass(slots=True)
class _Flow:
    """A connection, as the verdicts have it.

    Attributes:
        first, last: of its windows, µs since 1970.
        told: JSON of all that its windows say together; empty while there is no verdict.
        flow_id: of the flow of Suricata's that it was the latest verdict for.
        over: when that ended; None until it is known.
    """

    uid: str
    first: int
    last: int
    told: bytes = b""
    flow_id: int | None = None
    over: int | None = None


class Known:
    """Verdicts by flow.

    Args:
        most: connections that are kept; those that no verdict has come on for longest go first.
        seed: of the community IDs in events that have nothing else.

    Attributes:
        verdicts: that have been added.
        forgotten: connections that went because there were too many.
    """

    def __init__(self, most: int = 500_000, seed: int = 0) -> None:
        self.verdicts = 0
        self.forgotten = 0
        self._most, self._seed = most, seed
        self._flows: OrderedDict[bytes, list[_Flow]] = OrderedDict()
        self._held = 0
        #: Keys by community ID, kept from when one is asked for.
        self._named: dict[str, bytes] | None = None

    def __len__(self) -> int:
        """Connections that are kept."""
        return self._held

    def add(self, verdict: Verdict) -> None:
        """In any order; one that is known already changes nothing."""
        self.verdicts += 1
        flows = self._flows.get(verdict.key)
        if flows is None:
            flows = self._flows[verdict.key] = []
            if self._named is not None:
                self._named[self._name(verdict.key)] = verdict.key
        else:
            self._flows.move_to_end(verdict.key)
        flow = next((each for each in reversed(flows) if each.uid == verdict.uid), None)
        if flow is None:
            flow = _Flow(verdict.uid, verdict.ts, verdict.ts)
            flows.insert(bisect_right(flows, verdict.ts, key=lambda each: each.first), flow)
            self._held += 1
            if self._held > self._most:
                self._forget()
        elif verdict.ts < flow.first:
            flow.first = verdict.ts
            flows.sort(key=lambda each: each.first)
        flow.last = max(flow.last, verdict.ts)
        if verdict.said is not None:
            flow.told = _json(_together(json.loads(flow.told), verdict.said) if flow.told else verdict.said)

    def find(self, place: Place) -> bytes | None:
        """JSON of what is said of an event's flow; empty if that is known, but there is no verdict on it; None if
        nothing is known of it, yet."""
        of = self._key(place.key) if isinstance(place.key, str) else place.key
        flows = self._flows.get(of) if of is not None else None
        if not flows:
            return None
        if place.start is not None and place.end is not None:
            found = _within(flows, place.start, place.end)
            for flow in found:
                flow.flow_id, flow.over = place.flow_id, place.end
        else:
            one = _at(flows, place)
            found = [one] if one else []
            if one and place.flow_id is not None and one.flow_id != place.flow_id:
                one.flow_id, one.over = place.flow_id, None
        if len(found) == 1:
            return found[0].told
        if not found:
            return None
        told = [json.loads(flow.told) for flow in found if flow.told]
        if not told:
            return b""
        together = told[0]
        for each in told[1:]:
            together = _together(together, each, in_order=True)
        return _json(together)

    def _forget(self) -> None:
        """The connection that has been there for longest."""
        of, flows = next(iter(self._flows.items()))
        del flows[0]
        self._held -= 1
        self.forgotten += 1
        if not flows:
            del self._flows[of]
            if self._named is not None:
                self._named.pop(self._name(of), None)

    def _key(self, named: str) -> bytes | None:
        if self._named is None:
            self._named = {self._name(of): of for of in self._flows}
        return self._named.get(named)

    def _name(self, of: bytes) -> str:
        protocol, one, port, other, other_port = ends(of)
        return community_id(protocol, one, port, other, other_port, self._seed)


def _within(flows: list[_Flow], start: int, end: int) -> list[_Flow]:
    """Those with windows between start and end, of the order of time; if there are none the nearest that the slack
    allows for."""
    near: list[_Flow] = []
    for place in range(bisect_right(flows, end + SLACK, key=lambda each: each.first) - 1, -1, -1):
        if flows[place].last < start - SLACK:
            break
        near.append(flows[place])
    near.reverse()
    if exact := [flow for flow in near if flow.first <= end and flow.last >= start]:
        return exact
    return [min(near, key=lambda flow: max(flow.first - end, start - flow.last))] if near else []


def _at(flows: list[_Flow], place: Place) -> _Flow | None:
    """The one that had begun by then; else one that was about to."""
    after = bisect_right(flows, place.at, key=lambda each: each.first)
    if after and _may_be(flows[after - 1], place):
        return flows[after - 1]
    if after < len(flows) and flows[after].first <= place.at + AHEAD and _may_be(flows[after], place):
        return flows[after]
    return None


def _may_be(flow: _Flow, place: Place) -> bool:
    """Whether the event may be of this connection, though it comes after its latest window."""
    if place.start is not None:
        return flow.last >= place.start - SLACK
    if flow.flow_id is None or place.flow_id is None:
        return place.at <= flow.last + LASTS
    if flow.flow_id == place.flow_id:
        return True
    # Another flow between the same ends, most likely; or Suricata has begun anew.
    return place.at <= (flow.last if flow.over is None else min(flow.last, flow.over)) + SLACK


def _together(one: dict[str, Any], other: Mapping[str, Any], in_order: bool = False) -> dict[str, Any]:
    """What two windows say: whether it is malicious by the one that is more so, all else by the first."""
    if not in_order and other.get("window", 0) < one.get("window", 0):
        one, other = dict(other), one
    worst = max(one, other, key=lambda said: (bool(said.get("malicious")), said.get("malicious_score") or 0.0))
    found = {name: value for name, value in one.items() if name not in _BY_THE_WORST}
    found |= {name: worst[name] for name in _BY_THE_WORST if name in worst}
    if incident := worst.get("incident") or one.get("incident") or other.get("incident"):
        found["incident"] = incident
    return found


def _json(said: Mapping[str, Any]) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()
