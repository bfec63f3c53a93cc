"""Which VLANs end points are in use in. A verdict knows none, and is of who knows which where there are several."""

from __future__ import annotations

from collections import OrderedDict

from .events import Place

#: End points that are kept: of events in a VLAN only, some 500 bytes each.
_MOST = 100_000
#: µs: two flows of the same end points with no more time between them may have been at the same time.
_NEAR = 60_000_000
#: µs: two events of the same VLAN with no more time between them are taken for the same use of their end points.
_SAME = 600_000_000


class Vlans:
    """What events have said of it.

    Args:
        most: end points that are kept; those that no event has come on for longest go first.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        #: By end points and VLAN: the first and last time, and the flow.
        self._uses: OrderedDict[bytes | str, dict[tuple[int, ...], tuple[int, int, int | None]]] = OrderedDict()

    def saw(self, of: Place) -> None:
        """An event has come."""
        uses = self._uses.get(of.key)
        if uses is None:
            if not of.vlan:  # the rule: nothing is kept of a network without any
                return
            uses = self._uses[of.key] = {}
            if len(self._uses) > self._most:
                self._uses.popitem(last=False)
        else:
            self._uses.move_to_end(of.key)
        first, last = of.start or of.at, of.end or of.at
        before = uses.get(of.vlan)
        if before and before[0] - _SAME <= last and first <= before[1] + _SAME:
            first, last = min(first, before[0]), max(last, before[1])
        uses[of.vlan] = first, last, of.flow_id

    def several(self, of: Place) -> bool:
        """Whether its end points were in use in another VLAN, too, at about that time."""
        uses = self._uses.get(of.key)
        if not uses or (len(uses) == 1 and of.vlan in uses):
            return False
        first, last = of.start or of.at, of.end or of.at
        return any(
            vlan != of.vlan and flow_id != of.flow_id and begin - _NEAR <= last and first <= end + _NEAR
            for vlan, (begin, end, flow_id) in uses.items()
        )
