"""Alerts a day asked for and got: the thresholds that `mmtt learn threshold` finds by the earlier half of a site's
windows, and what they give on the later half. A half stands for a day: captures are seldom of whole ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmtt_agent.learn.budget import STEPS, Events, OutOfReach, notices, propose

from ..data.labels import MISSING
from ..data.pairs import Pairs
from .answers import Answers
from .evidence import log_odds

#: Alerts that are asked for.
ASKED = 20
#: A site takes part that has so many windows.
_FEWEST_WINDOWS = 200


@dataclass(frozen=True)
class Budget:
    """
    Attributes:
        windows: of the later half.
        possible: alerts that all windows of the earlier half would raise.
        asked, given: alerts of the earlier half; ``given`` is what the thresholds that were found gave there.
        got: alerts of the later half.
    """

    site: str
    windows: int
    possible: int
    asked: int
    given: int
    got: int


def budgets(pairs: Pairs, answers: Answers, temperature: float, services: list[str]) -> list[Budget]:
    """Of each site that has enough, but for those where no threshold gives so many, or so few.

    Args:
        answers: of networks that have not seen the sites.
        temperature: of malicious.
    """
    odds = log_odds(answers, temperature)
    score = np.round(STEPS / (1 + np.exp(-np.clip(odds, -50, 50)))).astype(np.int64)
    service = answers.logits["service"].argmax(axis=1)
    # What is alike for Zeek: the responder and what its flows are called.
    alike = pairs.resp[pairs.connection] * len(services) + service
    capture = pairs.capture[pairs.connection]
    site = np.array(pairs.sites, object)[capture]
    site[answers.part[capture] == MISSING] = ""
    found = []
    for name in sorted({*site.tolist()} - {""}):
        rows = np.flatnonzero(site == name)
        if len(rows) < _FEWEST_WINDOWS:
            continue
        rows = rows[np.argsort(pairs.ts[rows], kind="stable")]
        events = Events(pairs.ts[rows], score[rows], service[rows], alike[rows], services)
        half = len(rows) // 2
        earlier, later = (events[each].in_order() for each in (np.arange(half), np.arange(half, len(rows))))
        try:
            thresholds = propose(earlier, ASKED)
        except OutOfReach:
            continue
        # As the settings have it: a service that was not seen has the threshold of the others.
        least = np.where(np.isin(np.arange(len(services)), earlier.of), thresholds.thresholds, thresholds.others)
        possible = len(notices(earlier, np.zeros(len(services), np.int64)))
        given, got = (len(notices(each, least)) for each in (earlier, later))
        found.append(Budget(name, len(later), possible, ASKED, given, got))
    return found
