"""The card's section on incidents: what evidence over connections finds, beside what needs no second model."""

from __future__ import annotations

import math

from ..evaluation.evaluate import Figures
from .tables import NONE, number, percent

#: Figures of a table's columns.
_MEASURES = ("auroc", "recall_at_1_percent", "recall_at_0.1_percent")
_SCORED = (
    ("test", "Sites in the test"),
    ("cross-validated", "Sites of training and validation, each by models without it"),
)
#: What was aimed at on sites that neither stage had seen.
_BARS = (
    ("all", "recall_at_1_percent", 0.65),
    ("all", "recall_at_0.1_percent", 0.35),
    ("encrypted", "recall_at_1_percent", 0.75),
    ("encrypted", "recall_at_0.1_percent", 0.5),
)
#: How a peer's loss or win is called.
_CALLED = {"auroc": "AUROC", "recall_at_1_percent": "recall at 1 %", "recall_at_0.1_percent": "recall at 0.1 %"}


def incidents(name: str, figures: Figures) -> list[str]:
    """Lines of Markdown; none where a run has no second model."""
    if not figures:
        return []
    pair = figures["pair"]
    lines = [
        "",
        "## Incidents",
        "",
        (
            "What is told of many connections of the same two hosts and port, by a second model that reads "
            f"{len(figures['weights']['pair'])} numbers of them. A pair is malicious if at least half of its labelled "
            "windows are, harmless if none is; what is in doubt is left out, as is the host's background in attack "
            "captures, which has no label. At most 15 pairs of a capture with the same label and port count. A pair's "
            "score is the highest that it ever had, as an incident once found stays found."
        ),
        "",
        relied_on(figures),
    ]
    for part, called in _SCORED:
        scores = pair[part]
        if not scores["mmtt"]["all"]["malicious"]:
            continue
        about = scores["mmtt"]
        lines += [
            "",
            (
                f"{called} ({about['all']['malicious']:,} malicious pairs of {about['all']['sites']} sites and "
                f"{about['all']['harmless']:,} harmless ones; encrypted {about['encrypted']['malicious']:,} of "
                f"{about['encrypted']['sites']} and {about['encrypted']['harmless']:,}):"
            ),
            "",
            "| | AUROC | recall at 1 % of harmless pairs | at 0.1 % | encrypted: AUROC | at 1 % | at 0.1 % |",
            "|---|---|---|---|---|---|---|",
            _row(f"**{name}**", scores["mmtt"]),
            _interval_row(scores["mmtt"]),
            *[_row(peer, found) for peer, found in scores.items() if peer not in ("mmtt", "at")],
            "",
            *_losses(name, scores),
        ]
    lines += [
        "",
        (
            "What the thresholds do. Time is counted in connections with a verdict that a pair had had when it was "
            "found, the median (in brackets the quartiles). A capture counts as one host, and units of all three sorts "
            "as false incidents, though the agent leaves out a pair whose host is one."
        ),
        "",
        "| | finds, in the test | flags, of harmless | found after | false incidents in 8 hours | on other sites |",
        "|---|---|---|---|---|---|",
    ]
    for share, found in pair["test"]["at"].items():
        default = ", the default" if share == figures["share"] else ""
        lines.append(
            f"| {share}{default} | {percent(found['recall'])} | {percent(found['false_positives'])} "
            f"| {_connections(found['connections'])} | {_rate(figures['false'][share]['test'])} "
            f"| {_rate(figures['false'][share]['cross-validated'])} |"
        )
    lines += ["", "What was aimed at, in the test:", "", *_bars(figures)]
    lines += [
        "",
        "What the second models weigh, for one standard deviation more: "
        + "; ".join(
            f"{unit}: " + ", ".join(f"{feature} {weight:+.2f}" for feature, weight in weights.items())
            for unit, weights in figures["weights"].items()
        )
        + ".",
    ]
    for unit in ("originator", "responder"):
        if unit in figures:
            about = figures[unit]["test"]["mmtt"]["all"]
            other = figures[unit]["cross-validated"]["mmtt"]["all"]
            lines += [
                "",
                (
                    f"Of {unit}s with several pairs: AUROC {number(about['auroc'])}, recall at 1 % "
                    f"{number(about['recall_at_1_percent'])} on {about['malicious']:,} malicious ones of the test, "
                    f"{number(other['auroc'])} and {number(other['recall_at_1_percent'])} on {other['malicious']:,} of "
                    "the other sites."
                ),
            ]
    return lines


def relied_on(figures: Figures) -> str:
    """What a user may rely on, in one sentence."""
    share = figures["share"]
    found, false = figures["pair"]["test"]["at"][share], figures["false"][share]
    return (
        f"At the default ({share}) it found {percent(found['recall'])} of the malicious pairs on networks that neither "
        f"stage had seen. Of harmless captures a false incident came {_often(false['test'])} there, and "
        f"{_often(false['cross-validated'])} of the sites that the threshold was chosen by: an incident is worth a "
        "look, and that there is none says little."
    )


def _bars(figures: Figures) -> list[str]:
    scores, false = figures["pair"]["test"]["mmtt"], figures["false"][figures["share"]]["test"]
    found = [
        (
            f"{'encrypted, ' * (part == 'encrypted')}{_CALLED[measure]}",
            f"{bar:.2f}",
            scores[part][measure],
            scores[part][measure] >= bar,
        )
        for part, measure, bar in _BARS
    ]
    found.append(("false incidents in 8 host-hours", "at most 1", false["rate"], false["rate"] <= 1))
    return [
        "| | bar | reached | |",
        "|---|---|---|---|",
        *[f"| {what} | {bar} | {number(value)} | {'met' if met else 'missed'} |" for what, bar, value, met in found],
    ]


def _often(false: Figures) -> str:
    if not false["incidents"]:
        return f"never in {false['hours']:,.0f} host-hours"
    hours, incidents = false["hours"], false["incidents"]
    return f"once in {hours / incidents:,.0f} host-hours ({incidents:,} in {hours:,.0f})"


def _row(name: str, scores: Figures) -> str:
    cells = [number(scores[part][measure]) for part in ("all", "encrypted") for measure in _MEASURES]
    return f"| {name} | {' | '.join(cells)} |"


def _interval_row(scores: Figures) -> str:
    cells = []
    for part in ("all", "encrypted"):
        for measure in _MEASURES:
            low, high = scores[part]["intervals"][measure]
            cells.append(f"{number(low)} to {number(high)}" if math.isfinite(low) else NONE)
    return f"| 95 % of it | {' | '.join(cells)} |"


def _losses(name: str, scores: Figures) -> list[str]:
    """A sentence per peer, as plain for a loss as for a win."""
    lines = []
    for peer, found in scores.items():
        if peer in ("mmtt", "at"):
            continue
        lost, won = [], []
        for part in ("all", "encrypted"):
            for measure in _MEASURES:
                mine, theirs = scores["mmtt"][part][measure], found[part][measure]
                told = f"{'encrypted ' * (part == 'encrypted')}{_CALLED[measure]}"
                if mine < theirs:
                    lost.append(f"{told} ({number(mine)} to {number(theirs)})")
                elif mine > theirs:
                    won.append(told)
        lines.append(
            f"- Against {peer}, {name} loses on {', '.join(lost) or 'nothing'}; wins on {', '.join(won) or 'nothing'}."
        )
    return lines


def _connections(quartiles: list[float]) -> str:
    low, middle, high = quartiles
    return f"{middle:.0f} ({low:.0f} to {high:.0f})" if math.isfinite(middle) else NONE


def _rate(false: Figures) -> str:
    low, high = false["interval"]
    return f"{false['rate']:.2f} ({low:.2f} to {high:.2f}; {false['incidents']:,} in {false['hours']:,.0f} hours)"
