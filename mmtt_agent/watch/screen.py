"""An agent's state for a person at a terminal. Names in it may come from elsewhere, so they are shown escaped."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..output import shown, utc
from .rates import Rates


def state(status: dict[str, Any]) -> Table:
    """The rows of ``mmtt status``."""
    windows, latency, reloads = (status[k] for k in ("windows", "latency", "reloads"))
    answered = windows["answered"]
    kinds = status.get("malicious_kinds")  # an agent up to 0.2.0 has none
    rows = [
        (
            "agent",
            f"{status['agent']}, version {status['version']}, process {status['pid']}, up {_ago(status)}",
        ),
        ("health", Text("ok", "green") if status["healthy"] else Text(shown(status["problem"]), "bold red")),
        ("model", f"{status['model']} of {status['bundle'] or 'the installation'}"),
        *_capture(status),
        (
            "windows",
            f"{answered['ok']:,} with a verdict, {answered['shed']:,} shed, {answered['error']:,} refused",
        ),
        ("in hand", f"{windows['in_hand']:,}, of these {windows['queued']:,} wait for the model"),
        ("lag", _lag(latency)),
        ("malicious", f"{status['malicious']:,}{f', of these {_most(kinds)}' if kinds else ''}"),
        ("services", _most(status["services"])),
        ("applications", _most(status["applications"])),
    ]
    if (evidence := status.get("evidence")) and evidence["kept"]:
        found = f"{evidence['open']:,} open of {status['incidents']['opened']:,}"
        kept = f"evidence on {evidence['pairs']:,} pairs of hosts, {evidence['left_out']['shed']:,} given up"
        rows.append(("incidents", f"{found}; {kept}"))
    if (alerts := status.get("alerts")) and alerts["per_day"]:  # an agent up to 0.6.0 has none
        found = f"a score of {alerts['threshold']:.4f}" if alerts["threshold"] is not None else "not known yet"
        rows.append(("alerts", f"about {alerts['per_day']:g} a day: {found}, by {alerts['hours']} hours with traffic"))
    own = status.get("thresholds") or {}  # an agent up to 0.5.0 has none
    if any(own.values()):
        of = [f"{name} {_thresholds(by_name)}" for name, by_name in own.items() if by_name]
        rows.append(("thresholds", f"the site's own: {'; '.join(of)}"))
    if (memory := status.get("record")) and memory["directory"]:  # an agent up to 0.5.0 has none
        rows.append(("recorded", _recorded(memory)))
    if (drift := status.get("drift")) and drift["known"]:
        rows.append(("drift", _drifted(drift)))
    if any(reloads.values()):
        last = f"; the latest failed: {status['reload_problem']}" if status["reload_problem"] else ""
        rows.append(("reloads", f"{reloads['ok']}, {reloads['failed']} failed{last}"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else Text(shown(value)))
    return table


def _capture(status: dict[str, Any]) -> list[tuple[str, Text | str]]:
    """Where the windows come from: Zeek, or an interface of this machine."""
    if (zeek := status.get("zeek")) is not None:
        where = f"{zeek['version'] or 'not connected'} at {zeek['url']}, {zeek['nodes']} nodes in the last minute"
        return [("zeek", where)]
    capture, output = status["capture"], status["output"]
    of, dropped = capture["flows"], capture["dropped"]
    packets = f"{capture['packets']:,} on {', '.join(capture['interfaces'])}, {dropped:,} lost by the kernel"
    given_up = f", {of['evicted']:,} given up as there were too many" if of["evicted"] else ""
    workers = f"{len(capture['workers'])}, {capture['restarts']} have ended before their time"
    return [
        ("packets", Text(shown(packets), "bold red" if dropped else "")),
        ("filter", capture["filter"] or "none"),
        ("connections", f"{of['seen']:,}, of these {of['open']:,} open{given_up}"),
        ("workers", workers),
        ("rows", f"{output['written']:,} written, {output['lost']:,} lost"),
    ]


def _drifted(drift: dict[str, Any]) -> Text | str:
    told = (
        f"{drift['shift']:.2f} standard deviations from what was learnt from (then up to {drift['usual']:.2f}), "
        f"{drift['unknown']:.0%} unknown (then {drift['unknown_then']:.0%})"
    )
    if not drift["changed"]:
        return told
    return Text(f"{told}: this network has changed; type: mmtt learn fit", "bold yellow")


def _thresholds(by_name: dict[str, float]) -> str:
    """One for all by itself; others by their names."""
    if [*by_name] == ["others"]:
        return f"{by_name['others']:.4f}"
    return ", ".join(f"{threshold:.4f} for {name.replace('_', ' ')}" for name, threshold in by_name.items())


def live(status: dict[str, Any], rates: Rates, flows: int) -> Group:
    """The screen of ``mmtt top``."""
    windows = status["windows"]
    head = Text.assemble(
        (shown(f"mmtt {status['agent']}"), "bold"),
        shown(f"  {status['model']}  "),
        *_source(status, rates),
        f"  up {_ago(status)}  ",
        ("ok", "green") if status["healthy"] else (shown(status["problem"]), "bold red"),
    )
    lost = rates.shed + rates.error
    line = Text.assemble(
        (f"{rates.ok:,.0f} verdicts/s", "bold"),
        f"  {rates.received:,.0f} windows/s in  ",
        (f"{lost:,.0f}/s shed or refused", "bold red" if lost else "dim"),
        f"  in hand {windows['in_hand']:,}  queue {windows['queued']:,}  lag {_lag(status['latency'])}  ",
        (f"malicious {rates.malicious:,.1f}/s", "bold red" if rates.malicious else "dim"),
    )
    shares = [
        _shares(what, status[key], per_second)
        for what, key, per_second in (
            ("service", "services", rates.services),
            ("application", "applications", rates.applications),
        )
    ]
    return Group(head, line, Columns(shares, padding=(0, 4)), _flows(status["suspicious"][:flows]))


def _source(status: dict[str, Any], rates: Rates) -> list[tuple[str, str] | str]:
    """Where the windows come from, for the head of the screen."""
    if (zeek := status.get("zeek")) is not None:
        connected = zeek["connected"]
        told = shown(f"Zeek {zeek['version']}") if connected else "no Zeek"
        return [(told, "" if connected else "bold red"), f"  {zeek['nodes']} nodes"]
    capture = status["capture"]
    lost = f"{rates.dropped:,.0f}/s lost" if rates.dropped else f"{capture['dropped']:,} lost"
    return [
        shown(f"{', '.join(capture['interfaces'])}  {rates.packets:,.0f} packets/s  "),
        (lost, "bold red" if rates.dropped else "dim"),
        f"  {capture['flows']['open']:,} connections",
    ]


def _shares(what: str, totals: dict[str, int], rates: dict[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(what, min_width=16)
    table.add_column("/s", justify="right", min_width=8)
    table.add_column("in all", justify="right", min_width=9)
    for name, rate in sorted(rates.items(), key=lambda item: (-item[1], -totals[item[0]]))[:10]:
        table.add_row(
            Text(shown(name)), f"{rate:,.1f}", f"{totals[name]:,}", style="dim" if name == "unknown" else None
        )
    return table


def _flows(flows: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.title, table.title_justify = (
        "most suspicious flows of the last ten minutes: grep the uid in conn.log, or mmtt.log",
        "left",
    )
    with_kind = any(flow.get("malicious_kind") for flow in flows)
    for name in ("score", "time (UTC)", "uid", "service", "application", *(["kind"] if with_kind else [])):
        table.add_column(name, justify="right" if name == "score" else "left", no_wrap=True)
    for flow in flows:
        table.add_row(
            Text(f"{flow['malicious_score']:.3f}", "bold red" if flow["malicious"] else "dim"),
            utc(flow["ts"], "%H:%M:%S"),
            *(Text(shown(flow[key])) for key in ("uid", "service", "application")),
            *([Text(shown(flow.get("malicious_kind") or ""))] if with_kind else []),
        )
    return table


def _most(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", {len(most) - 6} more" if len(most) > 6 else ""
    return ", ".join(f"{name} {n:,}" for name, n in most[:6]) + more or "-"


def _lag(latency: dict[str, float | None]) -> str:
    """From a batch's arrival to its answer."""
    median, most = latency["p50"], latency["p99"]
    return "-" if median is None or most is None else f"{median * 1e3:.1f} ms, p99 {most * 1e3:.1f} ms"


def _recorded(memory: dict[str, Any]) -> Text:
    said = (
        f"{memory['recorded']:,} windows in {memory['directory']}, {memory['waiting']:,} wait; "
        f"{memory['bytes'] / 1e6:,.1f} MB are kept"
    )
    if memory["dropped"]:
        said += f"; {memory['dropped']:,} could not be"
    if memory["problem"]:
        said += f"; the latest were not: {memory['problem']}"
    return Text(shown(said), "bold red" if memory["problem"] else "")


def _ago(status: dict[str, Any]) -> str:
    seconds = int(status["now"] - status["started"])
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
