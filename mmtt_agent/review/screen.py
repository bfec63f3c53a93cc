"""Incidents for a person at a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..classify import table
from ..classify.row import IncidentRow
from ..output import shown, utc
from .evidence import Evidence
from .found import Found

_TIME = "%Y-%m-%d %H:%M:%S"


def listed(rows: list[IncidentRow], chosen: int, known: int) -> None:
    """A line for each.

    Args:
        chosen: how many were asked for, of which these are the newest.
        known: how many there are in all.
    """
    console = Console()
    if rows:
        console.print(table.incidents(rows, console.width, several=any(row.capture for row in rows), states=True))
    of = "" if known == chosen else f" of {known:,}"
    console.print(f"[dim]{chosen:,}{of} {'incident' if chosen == 1 else 'incidents'}[/]")
    if len(rows) < chosen:
        console.print(f"[dim]and {chosen - len(rows):,} of them more, which are older: -n 0 shows all[/]")


def shown_all(incident: Found, about: Evidence) -> None:
    """All that is known of one."""
    console, row = Console(), incident.latest
    first, last = (utc(at / 1e6, _TIME) for at in (row.first, row.last))
    console.print(Text.assemble((shown(table.who(row)), "bold"), f"  {shown(row.id)}, {row.state}"))
    console.print(Text(shown(row.reason)))
    kind = (row.kind or "not known").replace("_", " ")
    for name, text in (
        ("kind", shown(kind)),
        ("score", f"{row.score:.4f}"),
        ("connections", f"{row.connections:,}, from {first} to {last} UTC"),
        ("payload", f"{row.orig_bytes:,} bytes there, {row.resp_bytes:,} bytes back, where there is a verdict"),
        *([("capture", shown(row.capture))] if row.capture else []),
    ):
        console.print(Text.assemble((f"{name:12}", "dim"), text))
    console.print(_history(incident.rows))
    if about.flows:
        console.print(_records("strongest flows, of mmtt.log" if incident.uids else "of mmtt.log", about.flows, _FLOWS))
    if about.connections:
        title = "the same, of conn.log" if incident.uids else "the first connections, of conn.log"
        console.print(_records(title, about.connections, _CONNECTIONS))
    if incident.uids and not about.flows and not about.connections:
        console.print(Text(f"strongest flows: {shown(', '.join(incident.uids))}"))
        console.print("[dim]mmtt.log and conn.log, which would say more of them, are not beside mmtt_incidents.log[/]")


def _history(rows: list[IncidentRow]) -> Table:
    found = _table("what was said of it", "time (UTC)", "state", "score", "kind", "connections", "why")
    for row in rows:
        found.add_row(
            utc(row.ts / 1e6, _TIME),
            shown(row.state),
            f"{row.score:.3f}",
            Text(shown(row.kind or "").replace("_", " ")),
            f"{row.connections:,}",
            Text(shown(row.reason)),
        )
    return found


#: Columns of the logs, by the heads that they are shown under.
_FLOWS = {
    "uid": "uid",
    "window": "window",
    "score": "malicious_score",
    "kind": "malicious_kind",
    "service": "service",
    "application": "application",
}
_CONNECTIONS = {
    "uid": "uid",
    "state": "conn_state",
    "duration": "duration",
    "there": "orig_bytes",
    "back": "resp_bytes",
    "service": "service",
}


def _records(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> Table:
    found = _table(title, "time (UTC)", "flow", *columns)
    for row in rows:
        at = utc(row["ts"] / 1e6, _TIME) if "ts" in row else ""
        values = (row.get(name) for name in columns.values())
        found.add_row(at, Text(shown(_flow(row))), *(Text("" if v is None else shown(v)) for v in values))
    return found


def _flow(row: dict[str, Any]) -> str:
    orig, resp = (f"{row.get(f'id.{end}_h', '?')} port {row.get(f'id.{end}_p', '?')}" for end in ("orig", "resp"))
    return f"{orig} → {resp}/{row.get('proto', '?')}"


def _table(title: str, *heads: str) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    found.title, found.title_justify = title, "left"
    for head in heads:
        found.add_column(head, overflow="fold")
    return found
