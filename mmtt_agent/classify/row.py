"""A row of ``mmtt.log`` and one of ``mmtt_incidents.log``, by columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..incidents import Incident  # whoever reads logs needs no numpy


class Row(NamedTuple):
    """One row; a field that is unset in the log is None, as a kind is where the model says none.

    Attributes:
        ts: µs since 1970, the window's first payload packet.
        packets: payload packets in the window.
        status: ``ok``, or ``too_short`` for fewer than 4 payload packets: no verdict; live also ``shed``: more windows
            came than could be classified.
        latency: live, the seconds from the window's last packet to the row; None of a capture, as nobody waited.
        incident: that the flow belongs to.
        capture: the name of the file that it comes from; a column only where there may be several.
        community_id: of the connection, where it was asked for; before the capture in a log.
    """

    ts: int
    uid: str
    orig_h: str
    orig_p: int
    resp_h: str
    resp_p: int
    proto: str
    window: int
    packets: int
    service: str | None
    service_score: float | None
    application: str | None
    application_score: float | None
    malicious: bool | None
    malicious_score: float | None
    malicious_kind: str | None
    status: str
    latency: float | None
    model: str | None
    incident: str | None
    capture: str
    community_id: str | None = None


class IncidentRow(NamedTuple):
    """One row of ``mmtt_incidents.log``; a field that is unset there is None: an originator with many responders has no
    responder, a responder with many originators no originator.

    Attributes:
        ts, first, last: µs since 1970; ``first`` and ``last`` are when its connections began.
    """

    ts: int
    id: str
    state: str
    orig_h: str | None
    resp_h: str | None
    resp_p: int | None
    kind: str | None
    score: float
    connections: int
    first: int
    last: int
    orig_bytes: int
    resp_bytes: int
    reason: str
    uids: tuple[str, ...]
    capture: str

    @classmethod
    def of(cls, incident: Incident, capture: str) -> IncidentRow:
        """``capture``: the name of the file that it comes from."""
        return cls(
            ts=incident.ts,
            id=incident.id,
            state=incident.state,
            orig_h=incident.orig,
            resp_h=incident.resp,
            resp_p=int(incident.resp_p.partition("/")[0]) if incident.resp_p else None,
            kind=incident.kind or None,
            score=incident.score,
            connections=incident.connections,
            first=incident.first,
            last=incident.last,
            orig_bytes=incident.orig_bytes,
            resp_bytes=incident.resp_bytes,
            reason=incident.reason,
            uids=incident.uids,
            capture=capture,
        )
