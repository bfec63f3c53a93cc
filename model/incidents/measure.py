"""What scores of pairs and hosts are worth: recall, false incidents, how soon. Intervals are of 95 % over sites drawn
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..data.labels import MISSING
from ..data.pairs import Pairs
from ..evaluation.evaluate import Figures, auroc, mean, recall_at, threshold_at
from .evidence import Evidence

#: Shares of the harmless units that recall is told at.
SHARES = (0.01, 0.001)
#: Host-hours that a default may bring one false incident in.
HOURS = 8.0
_TIMES = 300


def ranked(evidence: Evidence, scores: np.ndarray, rows: np.ndarray) -> Figures:
    """How well ``scores`` (u,) tell the malicious of the units ``rows`` from the harmless ones, for "all" and
    "encrypted": "malicious", "harmless", "sites" (with malicious ones), "auroc", "recall_at_1_percent",
    "recall_at_0.1_percent", and the interval of each of these under "intervals".
    """
    found: Figures = {}
    for name, inside in (("all", rows), ("encrypted", rows[evidence.encrypted[rows]])):
        label, score = evidence.label[inside], scores[inside]
        measures: Mapping[str, Callable[[np.ndarray], float]] = {
            "auroc": partial(_auroc, label, score),
            **{f"recall_at_{100 * share:g}_percent": partial(_recall, label, score, share) for share in SHARES},
        }
        every = np.arange(len(inside))
        found[name] = {
            "malicious": int((label == 1).sum()),
            "harmless": int((label == 0).sum()),
            "sites": len(np.unique(evidence.site[inside][label == 1])),
            **{measure: of(every) for measure, of in measures.items()},
            "intervals": {measure: interval(evidence.site[inside], of) for measure, of in measures.items()},
        }
    return found


def _auroc(label: np.ndarray, score: np.ndarray, drawn: np.ndarray) -> float:
    return auroc(label[drawn], score[drawn])


def _recall(label: np.ndarray, score: np.ndarray, share: float, drawn: np.ndarray) -> float:
    return recall_at(label[drawn], score[drawn], share)


def at_threshold(
    evidence: Evidence, highest: np.ndarray, until: np.ndarray, rows: np.ndarray, threshold: float
) -> Figures:
    """What a threshold does to the units ``rows``, by their ``highest`` scores (u,) and the connections ``until`` they
    had it (u,): "recall" and "false_positives" of all and, under "encrypted", of these; "connections", the quartiles of
    how many connections with a verdict what is found has had by then.
    """

    def flags(inside: np.ndarray) -> Figures:
        flagged = highest[inside] >= threshold
        label = evidence.label[inside]
        return {"recall": mean(flagged[label == 1]), "false_positives": mean(flagged[label == 0])}

    soon = until[rows][(evidence.label[rows] == 1) & (highest[rows] >= threshold)]
    quartiles = np.percentile(soon, (25, 50, 75)) if len(soon) else np.full(3, np.nan)
    return {
        **flags(rows),
        "encrypted": flags(rows[evidence.encrypted[rows]]),
        "connections": [float(each) for each in quartiles],
    }


def harmless_captures(pairs: Pairs) -> np.ndarray:
    """bool (captures,): windows with a label, and not a malicious one."""
    of_window = pairs.capture[pairs.connection]
    many = len(pairs.captures)
    bad = np.bincount(of_window, pairs.malicious == 1, many) > 0
    known = np.bincount(of_window, pairs.malicious != MISSING, many) > 0
    harmless: np.ndarray = known & ~bad
    return harmless


def false_incidents(pairs: Pairs, captures: np.ndarray, incidents: np.ndarray) -> Figures:
    """Of the harmless ``captures`` (indices), with so many ``incidents`` (captures,) each: "incidents", "hours", "rate"
    in HOURS host-hours, its "interval". A capture counts as one host, though most have more.
    """
    hours = pairs.hours[captures]
    names = np.array([pairs.sites[each] for each in captures.tolist()])
    of = incidents[captures]

    def rate(drawn: np.ndarray) -> float:
        return HOURS * float(of[drawn].sum()) / max(float(hours[drawn].sum()), 1e-9)

    site = np.unique(names, return_inverse=True)[1]
    return {
        "captures": len(captures),
        "incidents": int(of.sum()),
        "hours": float(hours.sum()),
        "rate": rate(np.arange(len(captures))),
        "interval": interval(site, rate),
    }


def by_site(evidence: Evidence, highest: np.ndarray, rows: np.ndarray, threshold: float, names: list[str]) -> Figures:
    """Name of a site -> how many of its malicious units there are and are found, and of its harmless ones."""
    flagged = highest >= threshold
    found: Figures = {}
    for site in np.unique(evidence.site[rows]).tolist():
        inside = rows[evidence.site[rows] == site]
        found[names[site]] = {
            what: (int(flagged[of].sum()), len(of))
            for what, label in (("malicious", 1), ("harmless", 0))
            for of in [inside[evidence.label[inside] == label]]
        }
    return found


def thresholds(label: np.ndarray, highest: np.ndarray, shares: tuple[float, ...]) -> dict[float, float]:
    """The least threshold for each share of the harmless units."""
    return {share: threshold_at(label, highest, share) for share in shares}


def interval(site: np.ndarray, of: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """95 % of what ``of`` (rows) comes to for sites drawn anew, with replacement."""
    if not len(site):
        return float("nan"), float("nan")
    rng = np.random.default_rng(1)
    order = np.argsort(site, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(site[order])) + 1)
    found = [
        of(np.concatenate([members[each] for each in rng.integers(0, len(members), len(members))]))
        for _ in range(_TIMES)
    ]
    if not np.isfinite(found).any():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)
