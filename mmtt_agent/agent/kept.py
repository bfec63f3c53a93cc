"""The evidence over connections that a service keeps for as long as it runs, through changes of its model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from ..incidents import IncidentModel, Settings, Tracker


class Kept:
    """
    Args:
        model: of the bundle; None where it has none, and nothing is kept.
        settings: of the site; the model has a threshold for their share.
        by_clock: time goes on by what the tracker is told, not by the flows' own.
    """

    def __init__(self, model: IncidentModel | None, settings: Settings, by_clock: bool) -> None:
        self._by_clock = by_clock
        self._counts: Counter[str] = Counter()  # of trackers that are gone, and of connections without a verdict
        self._judge = model, settings
        self._tracker = self._new()

    def use(self, model: IncidentModel | None, settings: Settings) -> bool:
        """Judge by that from now on. What was kept for one that says otherwise is of no use for it; where only the
        thresholds are others it is.

        Returns:
            Whether evidence begins anew.
        """
        if (model, settings) == self._judge:
            return False
        (had_model, had_settings), self._judge = self._judge, (model, settings)
        only_thresholds = replace(had_settings, share=settings.share, thresholds=settings.thresholds) == settings
        if self._tracker is not None and model == had_model and only_thresholds:
            self._tracker.judge_by(settings)
            return False
        had, self._tracker = self._tracker, self._new()
        if had:
            self._counts += had.counts
        return had is not None

    def _new(self) -> Tracker | None:
        model, settings = self._judge
        return None if model is None else Tracker(model, settings, by_clock=self._by_clock)

    def status(self) -> dict[str, Any]:
        """What is kept now, and what is not, by reason, so far."""
        tracker, counts = self._tracker, self._all_counts()
        return {
            "kept": tracker is not None,
            "pairs": tracker.pairs if tracker else 0,
            "open": tracker.open if tracker else 0,
            "tries": counts["tries"],
            "left_out": {
                "shed": counts["pairs shed"],
                "forgotten": counts["pairs forgotten"],
                "late": counts["late"],
                "repeated": counts["repeated"],
                "without_ends": counts["without ends"],
            },
        }

    def incidents(self) -> dict[str, int]:
        """Incidents by what was told of them so far."""
        counts = self._all_counts()
        return {state: counts[state] for state in ("opened", "grown", "closed")}

    def _all_counts(self) -> Counter[str]:
        return self._counts + self._tracker.counts if self._tracker else self._counts
