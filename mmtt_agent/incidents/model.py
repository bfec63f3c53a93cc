"""The second model: from the evidence on a unit to how likely it is malicious. Few inputs, one weight each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .features import FEATURES


@dataclass(frozen=True)
class UnitModel:
    """A logistic regression over some of :data:`features.FEATURES`.

    Attributes:
        thresholds: the least probability of an incident, by the share of harmless units that have it ("0.1%").
    """

    bias: float
    weights: Mapping[str, float]
    thresholds: Mapping[str, float]

    def probability(self, features: np.ndarray) -> np.ndarray:
        """(n, features) -> (n,)"""
        weights = np.array([self.weights.get(name, 0.0) for name in FEATURES])
        # One product after the other, added up in one order: a matrix product may add in another on another machine.
        total = np.full(len(features), self.bias)
        for column in np.flatnonzero(weights):
            total = total + features[:, column] * weights[column]
        found: np.ndarray = 1 / (1 + np.exp(-np.clip(total, -500, 500)))
        return found


@dataclass(frozen=True)
class IncidentModel:
    """What a bundle says of incidents.

    Attributes:
        units: a model for each of :data:`table.UNITS` that the bundle has one for.
        share: the bundle's own choice of threshold.
        quantiles: share of harmless flows ("95%") -> log-odds that so many of them stay below, growing.
        kinds: what kinds there are, in the order of ``Flows.kinds``.
    """

    units: Mapping[str, UnitModel]
    share: str
    quantiles: Mapping[str, float]
    kinds: Sequence[str]

    def threshold(self, unit: str, share: str | None = None) -> float:
        """The least probability of an incident.

        Raises:
            ValueError: the bundle has none for that share.
        """
        thresholds = self.units[unit].thresholds
        if (share or self.share) not in thresholds:
            raise ValueError(f"there is no threshold for {share or self.share}, but for {', '.join(thresholds)}")
        return thresholds[share or self.share]

    @property
    def shares(self) -> list[str]:
        """What :meth:`threshold` takes, for every unit."""
        return [share for share in next(iter(self.units.values())).thresholds
                if all(share in unit.thresholds for unit in self.units.values())]  # fmt: skip

    def rank(self, log_odds: float) -> str | None:
        """The largest share of harmless flows that is below ("95%"); None where it is above few."""
        below = [share for share, value in self.quantiles.items() if log_odds >= value]
        return below[-1] if below else None
