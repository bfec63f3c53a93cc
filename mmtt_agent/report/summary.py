"""What a page tells, as JSON can hold it: totals of all flows, and the flows and incidents that are listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..bundle import UNKNOWN
from ..classify.row import IncidentRow
from .shapes import Shapes
from .store import Flow, Store

#: Incidents in the page at most.
INCIDENTS = 500
#: Names that have a colour of their own in a chart.
_COLOURS = 8
#: What else a chart can show of flows; see ``rest`` in page.js.
_OTHER, _UNKNOWN, _NONE = "other", UNKNOWN, "no verdict"
#: Hosts in a list of the busiest.
_TALKERS = 12
#: Parts of the time that a chart has at most, and how long they may be, in µs: what a clock or a calendar has.
PARTS = 72
_SECOND, _MINUTE, _HOUR, _DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
STEPS = (
    *(_SECOND // n for n in (1000, 500, 200, 100, 50, 20, 10, 5, 2)),
    *(_SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 364, 3_640, 36_400)),
)
#: Which flows are listed where there are more than fit.
_MOST_SUSPICIOUS = "malicious DESC, incident != '' DESC, ifnull(malicious_score, -1) DESC, first, uid"


def summary(store: Store, shapes: Shapes, limit: int) -> dict[str, Any]:
    """Of a store that is finished.

    Args:
        limit: flows that are listed: the most suspicious.
    """
    flows, answered, flagged, windows, first, last, connections, orig, resp = store.one(
        "SELECT count(*), sum(status = 'ok'), sum(malicious), sum(windows), min(first), max(first), count(conn_state), "
        "sum(orig_bytes * 1.0), sum(resp_bytes * 1.0) FROM flow"
    )
    (hosts,) = store.one("SELECT count(*) FROM (SELECT orig_h FROM flow UNION SELECT resp_h FROM flow)")
    (incidents,) = store.one("SELECT count(DISTINCT id) FROM incident")
    listed = sorted(store.flows(_MOST_SUSPICIOUS, limit), key=lambda flow: (flow.first, flow.uid))
    shown_incidents = store.incidents(INCIDENTS)
    step = step_of(first or 0, last or 0)
    kept = shapes.of({flow.uid for flow in listed})
    return {
        "begin": first or 0,
        "end": last or 0,
        "step": step,
        "steps": STEPS,
        "parts": PARTS,
        "models": [model for (model,) in store.query("SELECT DISTINCT model FROM flow WHERE model > '' LIMIT 10")],
        "totals": {
            "flows": flows,
            "answered": answered or 0,
            "flagged": flagged or 0,
            "windows": windows or 0,
            "incidents": incidents,
            "hosts": hosts,
            "connections": connections,
            "bytes": None if orig is None and resp is None else (orig or 0) + (resp or 0),
        },
        "left_out": {
            "flows": flows - len(listed),
            "incidents": incidents - len(shown_incidents),
            "shapes": shapes.left_out,
        },
        "charts": {name: _over_time(store, name, step) for name in ("service", "application")},
        "talkers": {role: _talkers(store, role) for role in ("orig_h", "resp_h")},
        "incidents": [_incident(row) for row in shown_incidents],
        "flows": _columns(listed),
        "shapes": {at: kept[flow.uid] for at, flow in enumerate(listed) if flow.uid in kept},
    }


def step_of(begin: int, end: int) -> int:
    """How long the parts of a time are that a chart shows, in µs."""
    return next((step for step in STEPS if end // step - begin // step < PARTS), STEPS[-1])


def _over_time(store: Store, column: str, step: int) -> dict[str, Any]:
    """Flows by part of the time and name: the most frequent names, then what else there is."""
    names = [
        name
        for (name,) in store.query(
            f"SELECT {column} FROM flow WHERE status = 'ok' AND {column} > '' AND {column} != ? GROUP BY 1 "
            "ORDER BY count(*) DESC, 1 LIMIT ?",
            UNKNOWN,
            _COLOURS,
        )
    ]
    all_names = [*names, _OTHER, _UNKNOWN, _NONE]
    index = {name: at for at, name in enumerate(names)}
    rest = {_UNKNOWN: len(names) + 1}
    counts: dict[tuple[int, int], int] = {}
    for part, name, answered, count in store.query(
        f"SELECT first / ?, {column}, status = 'ok', count(*) FROM flow GROUP BY 1, 2, 3", step
    ):
        at = index.get(name, rest.get(name, len(names))) if answered and name else len(names) + 2
        counts[part, at] = counts.get((part, at), 0) + count
    return {"names": all_names, "own": len(names), "counts": [[*key, count] for key, count in sorted(counts.items())]}


def _talkers(store: Store, role: str) -> list[list[Any]]:
    """The busiest hosts of one side, by bytes where they are known, else by flows: how many flows, flagged ones, and
    bytes they have."""
    return [
        [host, flows, flagged, octets]
        for host, flows, flagged, octets in store.query(
            f"SELECT {role}, count(*), sum(malicious), "
            "sum(CASE WHEN orig_bytes IS NULL AND resp_bytes IS NULL THEN NULL "
            "ELSE ifnull(orig_bytes, 0) * 1.0 + ifnull(resp_bytes, 0) END) "
            "FROM flow GROUP BY 1 ORDER BY 4 DESC, 2 DESC, 1 LIMIT ?",
            _TALKERS,
        )
    ]


def _incident(row: IncidentRow) -> dict[str, Any]:
    return {name: value for name, value in row._asdict().items() if value is not None}


def _columns(flows: list[Flow]) -> dict[str, Any]:
    """Flows by column, as small as can be: texts that come often as numbers of a list, scores in ten-thousandths, times
    as µs since the flow before."""
    columns: dict[str, Any] = {"uid": [flow.uid for flow in flows]}
    times = [flow.first for flow in flows]
    columns["first"] = [time - before for time, before in zip(times, [0, *times], strict=False)]
    for name in ("orig_p", "resp_p", "windows", "packets", "malicious", "orig_bytes", "resp_bytes"):
        columns[name] = [getattr(flow, name) for flow in flows]
    for name in ("service_score", "application_score", "malicious_score", "duration"):
        columns[name] = [None if (value := getattr(flow, name)) is None else round(value * 10_000) for flow in flows]
    for names in (
        ("orig_h", "resp_h"),
        *((name,) for name in ("proto", "service", "application", "malicious_kind", "status", "incident", "model")),
        ("capture",),
        ("conn_state",),
        ("conn_service",),
    ):
        texts: dict[str, int] = {}
        for name in names:
            columns[name] = _numbered((getattr(flow, name) for flow in flows), texts)
        columns[f"{names[0]}_texts"] = [*texts]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _numbered(values: Iterable[str | None], texts: dict[str, int]) -> list[int | None]:
    return [texts.setdefault(value, len(texts)) if value else None for value in values]
