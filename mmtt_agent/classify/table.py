"""Verdicts for a person at a terminal: a summary, then the flows, the most suspicious first, then incidents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ..output import shown, utc
from .row import IncidentRow, Row

_BAR = 24
#: Columns from which on there is room for the time of each flow.
_WIDE = 105


def show(console: Console, rows: list[Row], flows: int, several: bool) -> None:
    """Print the summary of ``rows``, and its ``flows`` most suspicious connections (0: all).

    Args:
        several: say of each connection which capture it is of.
    """
    latest = _latest(rows)
    answered = [row for row in latest if row.status == "ok"]
    console.print(_summary(rows, latest, answered))
    if not answered:
        return
    console.print(Group(_shares("service", answered), _shares("application", answered)))
    answered.sort(key=lambda row: (-(row.malicious_score or 0), row.ts))
    most = answered[:flows] if flows else answered
    console.print(_flows(most, console.width, several))
    if len(most) < len(answered):
        console.print(
            f"[dim]and {len(answered) - len(most):,} flows less suspicious: "
            "--flows 0 shows all, --format tsv all of their windows[/]"
        )


def show_incidents(console: Console, rows: list[IncidentRow] | None, several: bool) -> None:
    """Print incidents as they are in the end, the surest first; None: the bundle finds none."""
    if rows is None:
        console.print("[dim]This model finds no incidents; those of mmtt 0.5.0 and later do.[/]")
        return
    latest = {(row.capture, row.id): row for row in rows}.values()
    if not latest:
        console.print(Text("no incidents", "bold green"))
        return
    table = incidents(sorted(latest, key=lambda row: (-row.score, row.first)), console.width, several=several)
    table.title, table.title_justify = f"{len(latest):,} {'incident' if len(latest) == 1 else 'incidents'}", "left"
    console.print(table)


def incidents(rows: Iterable[IncidentRow], width: int, *, several: bool = False, states: bool = False) -> Table:
    """Of each incident who it is, with whom, and why, since when, of what kind, how sure, of how many connections.

    Args:
        width: of the terminal.
        several: say which capture it is of.
        states: say whether it goes on.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    wide = width >= _WIDE
    table.add_column("incident", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    if states:
        table.add_column("state", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=wide)
    if wide:
        table.add_column("kind", overflow="fold")
    table.add_column("conns", justify="right", no_wrap=True)
    table.add_column("who and why", overflow="fold")
    if several:
        table.add_column("capture", overflow="fold")
    for row in rows:
        kind = shown(row.kind or "").replace("_", " ")
        of_kind = f", {kind}" if kind and not wide else ""
        table.add_row(
            Text(shown(row.id)),
            Text(f"{row.score:.3f}", "bold red"),
            *([Text(shown(row.state), "dim" if row.state == "closed" else "")] if states else []),
            utc(row.first / 1e6, "%Y-%m-%d %H:%M:%S"),
            *([Text(kind)] if wide else []),
            f"{row.connections:,}",
            Text.assemble((f"{shown(who(row))}{of_kind}", "bold"), "\n", shown(row.reason)),
            *([Text(shown(row.capture))] if several else []),
        )
    return table


def who(row: IncidentRow) -> str:
    """With whom is who up to something: "10.0.0.1 → 10.0.0.2:443", "10.0.0.1 → many", "many → 10.0.0.2"."""
    resp = "many"
    if row.resp_h is not None:
        resp = row.resp_h if row.resp_p is None else endpoint(row.resp_h, row.resp_p)
    return f"{row.orig_h or 'many'} → {resp}"


def _latest(rows: list[Row]) -> list[Row]:
    """One row a connection, the one that ``conn.log`` would carry: of the latest window with a verdict."""
    latest: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row.capture, row.uid
        if key not in latest or row.status == "ok":
            latest[key] = row
    return list(latest.values())


def _summary(rows: list[Row], latest: list[Row], answered: list[Row]) -> Text:
    malicious = sum(bool(row.malicious) for row in answered)
    text = Text(f"{len(latest):,} flows with payload: ")
    text.append(f"{len(answered):,} with a verdict", "bold")
    text.append(f" ({sum(row.status == 'ok' for row in rows):,} windows), ")
    text.append(f"{len(latest) - len(answered):,} too short for one, ")
    text.append(f"{malicious:,} flagged malicious", "bold red" if malicious else "bold green")
    return text


def _shares(what: str, answered: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(what, min_width=16)
    table.add_column("flows", justify="right", min_width=7)
    table.add_column("", min_width=_BAR)
    counts = Counter(getattr(row, what) for row in answered).most_common()
    for name, count in counts:
        bar = "█" * max(1, round(_BAR * count / counts[0][1]))
        style = "dim" if name == "unknown" else None
        table.add_row(Text(name), f"{count:,}", Text(bar, "dim" if style else "cyan"), style=style)
    return table


def _flows(rows: list[Row], width: int, several: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = "flows by their malicious score", "left"
    table.add_column("score", justify="right", no_wrap=True)
    with_time, with_kind = width >= _WIDE, any(row.malicious_kind for row in rows)
    if with_time:
        table.add_column("time (UTC)", no_wrap=True)
    table.add_column("flow", overflow="fold")
    table.add_column("service", overflow="fold")
    table.add_column("application", overflow="fold")
    if with_kind:
        table.add_column("kind", overflow="fold")
    with_id = any(row.community_id for row in rows)
    if with_id:
        table.add_column("community id", overflow="fold")
    if several:
        table.add_column("capture", overflow="fold")
    for row in rows:
        table.add_row(
            Text(f"{row.malicious_score:.3f}", "bold red" if row.malicious else "dim"),
            *([utc(row.ts / 1e6, "%Y-%m-%d %H:%M:%S")] if with_time else []),
            Text(f"{endpoint(row.orig_h, row.orig_p)} → {endpoint(row.resp_h, row.resp_p)}/{row.proto}"),
            _scored(row.service, row.service_score),
            _scored(row.application, row.application_score),
            *([Text(row.malicious_kind or "")] if with_kind else []),
            *([Text(row.community_id or "")] if with_id else []),
            *([Text(shown(row.capture))] if several else []),
        )
    return table


def _scored(label: str | None, score: float | None) -> Text:
    return Text.assemble((label or "", "dim" if label == "unknown" else ""), (f" {score or 0:.2f}", "dim"))


def endpoint(host: str, port: int) -> str:
    """A host's port, as one writes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
