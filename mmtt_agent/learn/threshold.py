"""From a site's scores and a number of alerts a day to thresholds, what they would give, and where to put them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import yaml

from .budget import STEPS, BudgetError, Events, OutOfReach, Proposal, Rate, TooFew, TooMany, notices, propose
from .scores import Scores

#: Hours of traffic without which nothing can be said of a day, and below which little can.
LEAST_HOURS, FEW_HOURS = 6, 72
#: Notices in all of the logs below which a threshold hangs on chance.
_FEW_NOTICES = 10
#: Where thresholds hang on one another they are tried so often, until there are that many times fewer at most.
_TIMES, _NEAR = 3, 1.1
#: Of what raises too much so many are named.
_NAMED = 3
#: Incidents' notices that Zeek takes unless it is told otherwise: MMTT::max_incidents_per_day.
_MOST_INCIDENTS = 100


class Row(NamedTuple):
    """A service, or what incidents are of, or all of them.

    Attributes:
        of: its name.
        possible: notices that it would raise at a threshold of 0; for incidents, at the one that ran.
        now: the threshold that ran: the least score that was above it; None where none was.
        now_a_day: notices a day with that one.
        proposed: the threshold that is proposed; None where there is none for all.
        a_day: notices a day with that one.
    """

    of: str
    possible: int
    now: float | None
    now_a_day: Rate
    proposed: float | None
    a_day: Rate


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        rows: by class, those that raise most first.
        total: of all together.
        settings: `thresholds` of the agent's settings, by name; empty where nothing is to change.
        notes: what else is to be known, a line each.
    """

    model: str
    days: float
    rows: list[Row]
    total: Row
    settings: dict[str, float]
    notes: list[str]


#: Events that there would be with other thresholds, found anew.
Found = Callable[[np.ndarray], Events]


def answer(scores: Scores, per_day: float, of_incidents: bool, found_with: Found | None = None) -> Answer:
    """The thresholds that give about ``per_day`` notices a day.

    Args:
        of_incidents: rather than of single flows.
        found_with: for incidents that hang on one another's thresholds: what there is with them.

    Raises:
        BudgetError: there are none, or too little was seen.
    """
    hours, most = scores.seen.days * 24, per_day * scores.seen.days
    if hours < LEAST_HOURS:
        raise BudgetError(
            f"{hours:.1f} hours of traffic say nothing of a day: {LEAST_HOURS} are the least, three days are better"
        )
    if most < 1:
        raise BudgetError(
            f"{per_day:g} a day in {hours:.0f} hours are less than one: log for {24 / per_day:.0f} hours at least"
        )
    now = scores.now
    notes: list[str] = []
    try:
        found = propose(scores.events, most, scores.known_from)
    except TooMany as error:
        raise BudgetError(
            f"no threshold gives so few: {error.notices / scores.seen.days:,.1f} a day have the highest score, 1.0, "
            f"most of {_most(scores, np.full(len(now), STEPS))}; {_leave_out(of_incidents)}"
        ) from None
    except TooFew as error:
        if not scores.known_from.any():
            what = "incidents" if of_incidents else "flows"
            raise BudgetError(
                f"no threshold gives so many: all {what} together would raise {error.notices / scores.seen.days:,.1f}"
            ) from None
        notes.append(
            "the thresholds that run give no more than that; what is below them is in no log, so nobody knows what "
            "lower ones would give: --windows finds it out"
        )
        found = Proposal(now, STEPS, np.zeros(len(now), bool), np.zeros(len(now), bool))
    after = scores.events
    if found_with:
        found, after = _again(scores, found, most, found_with)
    rows, total = _rows(scores, found, after, found_with(now) if found_with else scores.events)
    settings = {} if (found.thresholds == now).all() else _settings(scores, found, of_incidents)
    notes += _notes(scores, found, total, of_incidents)
    return Answer(scores.model, scores.seen.days, rows, total, settings, notes)


def _again(scores: Scores, found: Proposal, most: float, found_with: Found) -> tuple[Proposal, Events]:
    """The proposal, and what there is with it, where that is another number than the scores alone tell: a host that is
    an incident hides its pairs."""
    asked = most
    for _ in range(_TIMES):
        after = found_with(found.thresholds)
        got = len(notices(after.in_order(), found.thresholds))
        if most / _NEAR <= got <= most or asked <= 1:
            break
        asked = max(1.0, asked * most / max(got, 1))
        try:
            found = propose(scores.events, asked, scores.known_from)
        except OutOfReach:
            break
    return found, found_with(found.thresholds)


def _rows(scores: Scores, found: Proposal, after: Events, before: Events) -> tuple[list[Row], Row]:
    """
    Args:
        after, before: what there is with the thresholds that are proposed, and with those that ran.
    """

    def told(events: Events, thresholds: np.ndarray) -> Events:
        events = events.in_order()
        return events[notices(events, thresholds)]

    parts = (
        told(scores.events, scores.known_from), told(before, scores.now), told(after, found.thresholds),
    )  # fmt: skip
    rate, names = scores.seen.rate, scores.events.names

    def row(name: str, classes: list[int], now: float | None, proposed: float | None) -> Row:
        possible, ran, proposes = (part.ts[np.isin(part.of, classes)] for part in parts)
        return Row(name, len(possible), now, rate(ran), proposed, rate(proposes))

    rows = [
        row(names[at], [at], _score(int(scores.now[at])), _score(int(found.thresholds[at]))) for at in _there(scores)
    ]
    total = row("all", [*range(len(names))], None, None)
    return sorted(rows, key=lambda row: (-row.a_day.mean, row.of)), total


def _there(scores: Scores) -> list[int]:
    """The classes that there are events of."""
    found: list[int] = np.unique(scores.events.of).tolist()
    return found


def _score(steps: int) -> float | None:
    return steps / STEPS if steps <= STEPS else None


def _settings(scores: Scores, found: Proposal, of_incidents: bool) -> dict[str, float]:
    """By name; what is seen too seldom, or never, has that of `others`."""
    own = {
        scores.events.names[at]: int(found.thresholds[at]) / STEPS
        for at in _there(scores)
        if of_incidents or not found.together[at]
    }
    return own if of_incidents else {"others": found.others / STEPS, **own}


def _notes(scores: Scores, found: Proposal, total: Row, of_incidents: bool) -> list[str]:
    seen, names = scores.seen, scores.events.names
    there = _there(scores)
    notes = []
    if seen.days * 24 < FEW_HOURS:
        notes.append(
            f"{seen.days * 24:.0f} hours were seen: days that are not like these give other numbers, which the "
            "interval does not know of; do it again after three days"
        )
    elif not seen.tells_days_apart:
        notes.append("fewer than three whole days were seen: the interval does not know how days differ")
    if (told := round(total.a_day.mean * seen.days)) < _FEW_NOTICES:
        notes.append(f"the thresholds hang on {told} notices in all: take them again when there are more days")
    if full := [names[at] for at in there if found.full[at]]:
        worst = _most(scores, np.where(found.full, STEPS, STEPS + 1))
        notes.append(
            f"more than their share has the highest score in {', '.join(full)}: most of {worst}; "
            f"{_leave_out(of_incidents)}"
        )
    if not of_incidents and (low := [names[at] for at in there if found.thresholds[at] * 2 < STEPS]):
        notes.append(f"thresholds below 0.5: most of that is harmless by the model's own account: {', '.join(low)}")
    if of_incidents and total.a_day.high > _MOST_INCIDENTS:
        notes.append(f"Zeek tells of {_MOST_INCIDENTS} incidents a day at most: MMTT::max_incidents_per_day")
    return notes


def _most(scores: Scores, thresholds: np.ndarray) -> str:
    """Of whom most notices are, with these thresholds."""
    events = scores.events.in_order()
    told = Counter(events.alike[notices(events, thresholds)].tolist()).most_common(_NAMED)
    return ", ".join(f"{scores.of_whom[alike]}: {n:,}" for alike, n in told)


def _leave_out(of_incidents: bool) -> str:
    what = "MMTT::incident_exempt_subnets" if of_incidents else "MMTT::exempt_subnets"
    return f"if that is known, take it out of the notices ({what}), and out here: --exempt"


def as_yaml(found: Answer, per_day: float, of_incidents: bool) -> str:
    """For the agent's settings."""
    what = "incidents" if of_incidents else "single flows"
    head = f"# For about {per_day:g} notices of {what} a day, by {found.days:.1f} days of {found.model or 'traffic'}.\n"
    name = "incidents" if of_incidents else "malicious"
    return head + yaml.safe_dump({"thresholds": {name: found.settings}}, sort_keys=False, allow_unicode=True)


def where(of_incidents: bool) -> str:
    """Where to put that."""
    text = "to be put in the agent's settings (mmtt agent -c FILE); then type: mmtt reload"
    if of_incidents:
        return text
    return f"{text}. In Zeek's local.zeek: redef MMTT::malicious_flows = T; redef MMTT::malicious_score = 0.0;"
