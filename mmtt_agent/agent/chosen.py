"""The bundle that settings choose, with the thresholds that they say, and how it judges evidence over connections."""

from __future__ import annotations

from typing import Protocol

from .. import bundle as bundles
from ..incidents import OTHERS, Settings
from .settings import ConfigError, Incidents, Thresholds


class Chosen(Protocol):
    """The settings that say it."""

    @property
    def bundle(self) -> str | None: ...
    @property
    def false_positives(self) -> str | None: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def thresholds(self) -> Thresholds: ...


def bundle(config: Chosen) -> bundles.Bundle:
    """
    Raises:
        BundleError: it can't be used.
        ConfigError: it has no such threshold, or judges nothing of what there is one for.
    """
    found, own, share = bundles.load(config.bundle, config.false_positives), config.thresholds, config.incidents.share
    if own.malicious:
        found = bundles.with_thresholds(found, own.malicious)
    if found.incidents and (strange := {*(own.incidents or {})} - {*found.incidents.units, OTHERS}):
        units = ", ".join(found.incidents.units)
        raise ConfigError(f"thresholds.incidents: {found.path} judges {units}, not {min(strange)}")
    if share and found.incidents and (shares := found.incidents.shares) and share not in shares:
        raise ConfigError(f"incidents.share: {found.path} has no threshold for {share}; there are {', '.join(shares)}")
    return found


def judging(config: Chosen) -> Settings:
    """How evidence over connections is kept and judged."""
    chosen = config.incidents
    return Settings(chosen.horizon, chosen.max_pairs, chosen.share, config.thresholds.incidents or {})
