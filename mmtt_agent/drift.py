"""How far a network has gone from what a site's answers were learnt from: by the embedding of its windows, and by how
many of them nothing is known of.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from .site import Site

#: Windows after which one counts half.
HALF = 20_000
#: Fewer than so many say nothing.
FEWEST = 1000
#: What was never seen among the windows that were learnt from, so many times over, is drift.
_BEYOND = 2.0
#: And a share of unknown windows so much above the most that was seen.
_MORE_UNKNOWN = 0.1


@dataclass(frozen=True)
class Drifted:
    """
    Attributes:
        windows: that count, the latest fully.
        shift: how far their mean is from that of the windows that were learnt from, in standard deviations; ``usual``:
            the farthest that a part of those was.
        unknown: the share without an application; ``unknown_then`` among the windows that were learnt from.
        changed: whether it is time to learn again.
    """

    windows: int
    shift: float
    usual: float
    unknown: float
    unknown_then: float
    changed: bool


class Drift:
    """Takes in windows as they are classified; may be told of them from several threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._weight, self._unknown = 0.0, 0.0
        self._sum = np.zeros(len(site.spread))

    def take(self, plain: np.ndarray, unknown: np.ndarray) -> None:
        """Windows as the site sees them (n, k), and whether each has no application: bool (n,)."""
        n = len(plain)
        kept = 0.5 ** (n / HALF)
        with self._lock:
            self._weight = self._weight * kept + n
            self._unknown = self._unknown * kept + int(unknown.sum())
            self._sum = self._sum * kept + plain.sum(axis=0, dtype=np.float64)

    def now(self) -> Drifted | None:
        """None where too few windows have come."""
        with self._lock:
            weight, unknown, total = self._weight, self._unknown, self._sum
        if weight < FEWEST:
            return None
        site = self._site
        shift, share = shifted(site, total / weight), unknown / weight
        changed = shift > _BEYOND * site.shift or share > site.unknown_most + _MORE_UNKNOWN
        return Drifted(round(weight), shift, site.shift, share, site.unknown, changed)


def shifted(site: Site, mean: np.ndarray) -> float:
    """How far a mean of windows (k,) is from the usual one, in standard deviations of the site's windows."""
    return float(np.sqrt(np.mean(((mean - site.usual) / site.spread) ** 2)))


def status(drifted: Drifted | None) -> dict[str, Any]:
    """How far the site is from what its model has learnt, in JSON's types; zeros where it has learnt nothing, or it is
    too early."""
    return {
        "known": drifted is not None,
        "windows": drifted.windows if drifted else 0,
        "shift": round(drifted.shift, 4) if drifted else 0.0,
        "usual": round(drifted.usual, 4) if drifted else 0.0,
        "unknown": round(drifted.unknown, 4) if drifted else 0.0,
        "unknown_then": round(drifted.unknown_then, 4) if drifted else 0.0,
        "changed": drifted.changed if drifted else False,
    }
