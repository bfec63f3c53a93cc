"""What a site may set of how incidents are found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

#: In ``thresholds``, all that are not named.
OTHERS = "others"


@dataclass(frozen=True)
class Settings:
    """
    Raises:
        ValueError: a number can't be.

    Attributes:
        horizon: seconds for which evidence counts; after a quarter of that it counts half.
        max_pairs: pairs of hosts and port that evidence is kept of at most.
        share: of harmless pairs, which may be called an incident: one that the bundle has a threshold for ("0.1%");
            None for the bundle's own choice.
        thresholds: a site's own instead, by what incidents are of ("pair"), and for "others" that are not named.
    """

    horizon: float = 86_400.0
    max_pairs: int = 200_000
    share: str | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.horizon < math.inf:
            raise ValueError(f"horizon must be a number of seconds above 0, not {self.horizon}")
        if self.max_pairs < 1:
            raise ValueError(f"max_pairs must be at least 1, not {self.max_pairs}")
