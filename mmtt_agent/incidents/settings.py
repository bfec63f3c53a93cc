"""What a site may set of how incidents are found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """
    Attributes:
        horizon: seconds for which evidence counts; after a quarter of that it counts half.
        max_pairs: pairs of hosts and port that evidence is kept of at most.
        share: of harmless pairs, which may be called an incident: one that the bundle has a threshold for ("0.1%");
            None for the bundle's own choice.
    """

    horizon: float = 86_400.0
    max_pairs: int = 200_000
    share: str | None = None
