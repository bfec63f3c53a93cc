"""The second model of a run: fitted, calibrated, measured on sites that neither stage has seen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmtt_agent.incidents import UnitModel
from mmtt_agent.incidents.features import FEATURES
from mmtt_agent.incidents.table import PAIR, UNITS

from ..data.labels import MISSING
from ..data.pairs import Pairs
from ..evaluation.evaluate import Figures, sigmoid
from . import measure
from .answers import Answers
from .evidence import Evidence, collect
from .fit import INPUTS, fit
from .peers import PEERS

#: Shares of the harmless units that a bundle has thresholds for.
SHARES = (0.01, 0.002, 0.001)
#: Shares of harmless flows whose log-odds a bundle tells, for the reasons' words.
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
#: Units with a label below which there is no model: fewer of either say nothing.
_FEWEST = 20


@dataclass(frozen=True)
class Study:
    """
    Attributes:
        section: a bundle's ``incidents``; empty where there is too little to learn from.
        figures: what the card and `mmtt study incidents` show.
    """

    section: dict[str, Any]
    figures: Figures


@dataclass(frozen=True)
class _Fitted:
    """A model of a sort of units; scores of each judgement by models that had not seen its site; rows to score by."""

    model: UnitModel
    evidence: Evidence
    scores: np.ndarray
    known: np.ndarray
    test: np.ndarray

    def highest(self) -> np.ndarray:
        return self.evidence.highest(self.scores)


def study(
    pairs: Pairs,
    answers: Answers,
    temperatures: dict[str, float],
    kinds: Sequence[str],
    harmless: np.ndarray,
    say: Callable[[str], None],
) -> Study:
    """Fit and measure. ``harmless``: calibrated log-odds of harmless windows by networks that had not seen their
    sites."""
    return of_evidence(pairs, answers.part, collect(pairs, answers, temperatures, kinds, say), harmless)


def of_evidence(pairs: Pairs, part: np.ndarray, evidence: dict[str, Evidence], harmless: np.ndarray) -> Study:
    """As `study`, of evidence; ``part`` (captures,) is that of `Answers`, the greatest of it is the test."""
    test = int(part.max(initial=0))
    fitted = {
        unit: found
        for unit in UNITS
        if (found := _fitted(evidence[unit], part[evidence[unit].capture], test, INPUTS[unit])) is not None
    }
    if PAIR not in fitted:
        return Study({}, {})
    safe = measure.harmless_captures(pairs)
    known, held = (np.flatnonzero(safe & of) for of in ((part != test) & (part != MISSING), part == test))
    rates = {
        share: {
            name: measure.false_incidents(pairs, captures, _incidents(pairs, fitted, share))
            for name, captures in (("cross-validated", known), ("test", held))
        }
        for share in map(percent, SHARES)
    }
    quiet = [share for share in rates if rates[share]["cross-validated"]["rate"] <= 1]
    share = quiet[0] if quiet else percent(SHARES[-1])
    figures: Figures = {"share": share, "false": rates, "sites": {}}
    names = sorted(set(pairs.sites))
    for unit, each in fitted.items():
        figures[unit] = {
            name: _figures(each, rows, unit == PAIR)
            for name, rows in (("cross-validated", each.known), ("test", each.test))
        }
    pair = fitted[PAIR]
    for name, rows in (("cross-validated", pair.known), ("test", pair.test)):
        figures["sites"][name] = measure.by_site(
            pair.evidence, pair.highest(), rows, pair.model.thresholds[percent(SHARES[0])], names
        )
    figures["weights"] = {
        unit: {
            name: float(weight * each.evidence.last[each.known][:, FEATURES.index(name)].std())
            for name, weight in each.model.weights.items()
        }
        for unit, each in fitted.items()
    }
    figures["curve"] = {
        name: _curve(pair.evidence.label[rows], {
            "mmtt": pair.highest()[rows], **{peer: of(pair.evidence)[rows] for peer, of in PEERS.items()}
        })
        for name, rows in (("cross-validated", pair.known), ("test", pair.test))
    }  # fmt: skip
    quantiles = np.quantile(harmless, QUANTILES) if len(harmless) else np.zeros(len(QUANTILES))
    section: dict[str, Any] = {
        "share": share,
        "quantiles": {percent(each): round(float(value), 4) for each, value in zip(QUANTILES, quantiles, strict=True)},
        **{unit: dataclasses.asdict(each.model) for unit, each in fitted.items()},
    }
    return Study(section, figures)


def percent(share: float) -> str:
    """0.001 -> "0.1%", as bundles, options and settings spell it."""
    return f"{100 * share:.4f}".rstrip("0").rstrip(".") + "%"


def _fitted(evidence: Evidence, part: np.ndarray, test: int, inputs: Sequence[Any]) -> _Fitted | None:
    known = np.flatnonzero(evidence.scored & (part != test))
    if min(np.bincount(evidence.label[known], minlength=2)) < _FEWEST:
        return None
    of_judgement = np.repeat(part, np.diff(evidence.first))
    scores = np.zeros(len(evidence.features))
    whole = fit(evidence, known, inputs)
    for each in np.unique(part[part != MISSING]).tolist():
        others = known[part[known] != each]
        model = whole if each == test or len(np.unique(evidence.label[others])) < 2 else fit(evidence, others, inputs)
        inside = of_judgement == each
        scores[inside] = _logit(model, evidence.features[inside])
    # How sure to be is learnt from what was said of sites that neither stage had seen.
    last = scores[evidence.first[1:] - 1]
    slope, shift = _calibrated(last[known], evidence.label[known])
    given = {each.name: each.guess for each in inputs if each.given}
    scores = sigmoid(scores * slope + shift + _logit(UnitModel(0.0, given, {}), evidence.features))
    model = UnitModel(
        round(whole.bias * slope + shift, 6),
        {name: round(weight * slope, 6) for name, weight in whole.weights.items()} | given,
        {},
    )
    highest = evidence.highest(scores)
    thresholds = {
        # Rounded up, so that no more than the share is flagged.
        percent(share): min(1.0, math.ceil(threshold * 1e6) / 1e6)
        for share, threshold in measure.thresholds(evidence.label[known], highest[known], SHARES).items()
    }
    return _Fitted(
        dataclasses.replace(model, thresholds=thresholds),
        evidence,
        scores,
        known,
        np.flatnonzero(evidence.scored & (part == test)),
    )


def _logit(model: UnitModel, features: np.ndarray) -> np.ndarray:
    logits: np.ndarray = model.bias + features @ np.array([model.weights.get(name, 0.0) for name in FEATURES])
    return logits


def _calibrated(logits: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Slope and shift that make the probabilities right on average (Platt): Newton's steps."""
    to = np.array([1.0, 0.0])
    columns = np.stack([logits, np.ones(len(logits))], 1)
    for _ in range(50):
        probability = sigmoid(columns @ to)
        gradient = columns.T @ (probability - label) + 1e-6 * to
        curvature = (columns * (probability * (1 - probability))[:, None]).T @ columns + 1e-6 * np.eye(2)
        to = to - np.linalg.solve(curvature, gradient)
    return max(float(to[0]), 0.01), float(to[1])


def _incidents(pairs: Pairs, fitted: dict[str, _Fitted], share: str) -> np.ndarray:
    """(captures,): units that are above their thresholds at some time. The agent has fewer: where a host is an incident
    its pairs are none.
    """
    found = np.zeros(len(pairs.captures))
    for each in fitted.values():
        above = each.highest() >= each.model.thresholds[share]
        found += np.bincount(each.evidence.capture[above], minlength=len(found))
    return found


def _figures(fitted: _Fitted, rows: np.ndarray, with_peers: bool) -> Figures:
    evidence, highest = fitted.evidence, fitted.highest()
    found: Figures = {"mmtt": measure.ranked(evidence, highest, rows)}
    if with_peers:
        found |= {peer: measure.ranked(evidence, of(evidence), rows) for peer, of in PEERS.items()}
    found["at"] = {
        share: measure.at_threshold(evidence, highest, evidence.until(fitted.scores, threshold), rows, threshold)
        for share, threshold in fitted.model.thresholds.items()
    }
    return found


def _curve(label: np.ndarray, scores: dict[str, np.ndarray]) -> Figures:
    """Recall over shares of false positives, to draw."""
    shares = np.geomspace(0.0005, 0.2, 40)
    found: Figures = {"shares": [float(each) for each in shares]}
    for name, score in scores.items():
        steps = measure.thresholds(label, score, tuple(shares.tolist()))
        found[name] = [float((score[label == 1] >= steps[each]).mean()) for each in shares.tolist()]
    return found
