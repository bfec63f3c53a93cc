"""What is found of the attacks in composed days, and what in days without."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np

from mmtt_agent.capture import CaptureError, Connections, read_capture
from mmtt_agent.classifier import Classifier
from mmtt_agent.classify.row import IncidentRow, Row
from mmtt_agent.classify.rows import rows
from mmtt_agent.incidents import IncidentModel, Tracker

from . import LabError
from .days import DAYS, PAIRS

#: A row of days.tsv or pairs.tsv.
_Told = dict[str, str]
# What flows that are less suspicious than half of the harmless ones are called.
_LEAST = "under half"


@dataclass(frozen=True)
class Result:
    """What was found in one day.

    Attributes:
        day: its row of days.tsv.
        first: the incident that the attack was first found by, as it was opened; None if it was not.
        kind: what that incident was called at last, empty where nobody was sure.
        seconds: from the attack's begin until it was found.
        connections: how many of the attack's had begun when it was found, or in all if it was not.
        rank: of harmless flows, what share is less suspicious than the attack's are on average ("95%"); None if none
            of these had a verdict.
        false: incidents that are not of the attack, as they were opened, and what they are of.
    """

    day: _Told
    first: IncidentRow | None
    kind: str
    seconds: float
    connections: int
    rank: str | None
    false: list[tuple[IncidentRow, str]]


def look(directory: Path, classifier: Classifier, say: Callable[[str], None]) -> list[Result]:
    """Classify the days that `mmtt lab days` composed.

    Raises:
        LabError: it is not what `mmtt lab days` left, or the bundle finds no incidents.
    """
    model = classifier.bundle.incidents
    if model is None:
        raise LabError(f"{classifier.bundle.path}: this bundle finds no incidents; take another with --bundle")
    days = _read(directory / DAYS)
    pairs: dict[str, list[_Told]] = defaultdict(list)
    for row in _read(directory / PAIRS):
        pairs[row["capture"]].append(row)
    results = []
    for number, day in enumerate(days, 1):
        try:
            capture = read_capture(directory / "captures" / day["capture"])
        except CaptureError as error:
            raise LabError(str(error)) from None
        every = list(rows(capture, day["capture"], classifier, Tracker(model)))
        result = judge(day, pairs[day["capture"]], capture.connections, every, model)
        say(f"{number}/{len(days)} {_called(day)}: {_word(result)}, {len(result.false)} false")
        results.append(result)
    return results


def _read(path: Path) -> list[_Told]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        raise LabError(f"{path}: not there; run `mmtt lab days RECORDED -o {path.parent}` first") from None


def judge(
    day: _Told, pairs: list[_Told], connections: Connections, found: Sequence[Row | IncidentRow], model: IncidentModel
) -> Result:
    """Hold what was found in a day against its truth.

    An incident is the attack's if it is of a malicious pair, of that pair's responder, or of its originator once the
    attack has begun. Any other is false.
    """
    attack = [pair for pair in pairs if pair["kind"]]
    ends = {(pair["orig"], pair["resp"]) for pair in attack}
    begin = min((int(pair["begin"]) for pair in attack), default=0)
    ours: IncidentRow | None = None
    false: list[tuple[IncidentRow, str]] = []
    kinds: dict[str, str] = {}
    log_odds = []
    for row in found:
        if isinstance(row, Row):
            if (row.orig_h, row.resp_h) in ends and row.malicious_score is not None:
                log_odds.append(_log_odds(row.malicious_score))
            continue
        kinds[row.id] = row.kind or kinds.get(row.id, "")
        if row.state != "opened":
            continue
        if _is_of(row, ends, begin):
            ours = ours or row
        else:
            false.append((row, _what(row, pairs)))
    originators, responders = connections.addresses(np.arange(len(connections)))
    until = ours.ts if ours else np.inf
    begun = sum(
        (orig, resp) in ends and ts <= until
        for orig, resp, ts in zip(originators, responders, connections.ts.tolist(), strict=True)
    )
    rank = (model.rank(sum(log_odds) / len(log_odds)) or _LEAST) if log_odds else None
    seconds = (ours.ts - begin) / 1e6 if ours else 0.0
    return Result(day, ours, kinds[ours.id] if ours else "", seconds, begun, rank, false)


def _log_odds(score: float) -> float:
    """Of a score as the log has it, which is rounded."""
    score = min(max(score, 0.00005), 0.99995)
    return log(score / (1 - score))


def _is_of(row: IncidentRow, ends: set[tuple[str, str]], begin: int) -> bool:
    if row.orig_h is None:
        return any(row.resp_h == resp for _, resp in ends)
    if row.resp_h is None:
        return row.ts >= begin and any(row.orig_h == orig for orig, _ in ends)
    return (row.orig_h, row.resp_h) in ends


def _what(row: IncidentRow, pairs: list[_Told]) -> str:
    """The activities between the ends of an incident."""
    if row.resp_h is None:
        return "many"
    return ", ".join(
        sorted(
            {pair["activity"] for pair in pairs if pair["resp"] == row.resp_h and row.orig_h in (None, pair["orig"])}
        )
    )


def report(results: list[Result]) -> str:
    """Tables of Markdown."""
    attacks, ordinary = ([each for each in results if bool(each.day["attack"]) == is_one] for is_one in (True, False))
    lines = [
        "| attack | each | jitter | flows | found | after connections | after | incident of | kind | right |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in attacks:
        lines.append(f"| {' | '.join(_cells(each))} |")
    found = [each for each in attacks if each.first]
    right = sum(each.kind == each.day["kind"] for each in found)
    lines += [
        "",
        f"{len(found)} of {len(attacks)} attacks found, {right} of these with the right kind.",
        "",
        _false("Days without an attack", ordinary),
        _false("Days with one, what is not of it", attacks),
    ]
    return "\n".join(lines)


def _cells(result: Result) -> list[str]:
    day = result.day
    each = f"{day['period']} s" if day["period"] else f"{day['sessions']} sessions"
    jitter = f"{float(day['jitter']) * 100:g} %" if day["jitter"] else ""
    about = [day["attack"], each, jitter, (result.rank or "no verdict").replace("%", " %")]
    if result.first is None:
        return [*about, "no", f"({result.connections})", "", "", "", ""]
    row = result.first
    unit = "responder" if row.orig_h is None else "originator" if row.resp_h is None else "pair"
    kind = result.kind or "not sure"
    right = "yes" if result.kind == day["kind"] else "no"
    return [*about, "yes", str(result.connections), f"{result.seconds / 60:.0f} min", unit, kind, right]


def _false(title: str, results: list[Result]) -> str:
    hours = sum(float(each.day["hours"]) * int(each.day["hosts"]) for each in results)
    what = Counter(what for each in results for _, what in each.false)
    count = sum(what.values())
    rate = f", one in {hours / count:.0f}" if count else ""
    of = f": {', '.join(f'{name} {times}' for name, times in what.most_common())}" if count else ""
    return f"{title}: {count} false incidents in {hours:,.0f} host-hours{rate}{of}."


def _called(day: _Told) -> str:
    return f"{day['attack']} each {day['period']} s" if day["period"] else day["attack"] or "ordinary"


def _word(result: Result) -> str:
    if not result.day["attack"]:
        return "no attack"
    return f"found after {result.connections} connections" if result.first else "not found"
