"""What the agent finds over connections, and which node of Zeek is to be told. One for as long as the agent runs:
sessions come and go. No sockets or clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..classifier import Verdicts
from ..incidents import Budget, Flows, Incident, IncidentModel, Settings, Tracker, Try
from . import wire
from .kept import Kept

#: Incidents of a sensor that wait for a node of it at most; the oldest go first.
MAX_WAITING = 10_000
# A sensor's names of hosts begin with so many characters that are the same for all.
_SENSOR = 4
_MAX_SENSORS = 1000


class Evidence(Kept):
    """Takes in verdicts, and gives out incidents.

    Args:
        model: of the bundle; None where it has none, and nothing is kept.
        settings: of the site; the model has a threshold for their share.
        by_clock: time goes on by :meth:`steps`, not by the flows' own.
        per_day: incidents that there should be, instead of the settings' thresholds.
    """

    def __init__(
        self,
        model: IncidentModel | None,
        settings: Settings | None = None,
        by_clock: bool = False,
        per_day: float | None = None,
    ) -> None:
        self._per_day = per_day
        #: Of incidents a day, where the site has one.
        self.budget: Budget | None = None
        super().__init__(model, settings or Settings(), by_clock)
        self._nodes: dict[str, str] = {}  # by sensor: which node has sent something latest
        self._waiting: dict[str, deque[Incident]] = {}  # by sensor

    def _new(self) -> Tracker | None:
        model, settings = self._judge
        if model is None:
            return None
        # Another model's scores say nothing of this one's.
        if self._per_day and (self.budget is None or self.budget.model != model):
            self.budget = Budget(self._per_day, model)
        return Tracker(model, settings, by_clock=self._by_clock, budget=self.budget)

    # What comes in.

    def flows(self, batch: wire.Classify, verdicts: Verdicts) -> list[str]:
        """Take in the first good flows of a batch, as many as there are verdicts: for each the incident that it belongs
        to, or ""."""
        n, good = len(verdicts), batch.good
        self._hear(batch.reply_topic, good.orig)
        if self._tracker is None or not n:
            return [""] * n
        places = batch.places(n)
        orig_bytes, resp_bytes = good.series[:n].payload()
        ids = self._tracker.flows(
            Flows(
                ts=good.ts[:n],
                orig=good.orig[:n],
                resp=good.resp[:n],
                resp_p=good.resp_p[:n],
                uid=[batch.uids[place] for place in places],
                window=[batch.windows[place] for place in places],
                log_odds=verdicts.log_odds,
                kinds=verdicts.kind_scores,
                likeness=verdicts.likeness,
                orig_bytes=orig_bytes,
                resp_bytes=resp_bytes,
            )
        )
        self._collect()
        return ids

    def tries(self, topic: str, tries: list[Try]) -> None:
        """Take in connections without a verdict from a node."""
        self._hear(topic, [each.orig for each in tries])
        self._counts["tries"] += sum(each.failed + each.short for each in tries)
        if self._tracker is not None:
            self._tracker.tries(tries)

    def steps(self, now: int) -> Iterator[None]:
        """It is ``now``, in microseconds since 1970: judge what is due, in steps of a few milliseconds."""
        if self._tracker is not None:
            yield from self._tracker.steps(now)
            self._collect()

    def end(self) -> None:
        """There will be no more: find all that is left."""
        if self._tracker is not None:
            self._wait(self._tracker.end())

    def connected(self) -> None:
        """Another connection: whoever it is has yet to say something."""
        self._nodes.clear()

    # What goes out.

    @property
    def has_incidents(self) -> bool:
        """Whether :meth:`take` has some."""
        return any(sensor in self._nodes for sensor in self._waiting)

    def take(self) -> tuple[str, list[Incident]] | None:
        """A node's topic and incidents for it, in their order; None where there are none, or none whose node has been
        heard of on this connection."""
        for sensor, waiting in self._waiting.items():
            if sensor in self._nodes:
                found = [waiting.popleft() for _ in range(min(len(waiting), wire.MAX_INCIDENTS))]
                if not waiting:
                    del self._waiting[sensor]
                return self._nodes[sensor], found
        return None

    def status(self) -> dict[str, Any]:
        """As :meth:`Kept.status`, and what waits for a node of Zeek."""
        return super().status() | {"waiting": sum(map(len, self._waiting.values())), "lost": self._counts["lost"]}

    def _hear(self, topic: str, names: list[str]) -> None:
        for name in names:
            if name:
                sensor = name[:_SENSOR]
                if sensor in self._nodes or len(self._nodes) < _MAX_SENSORS:
                    self._nodes[sensor] = topic
                return

    def _collect(self) -> None:
        if self._tracker is not None:
            self._wait(self._tracker.advance())

    def _wait(self, found: list[Incident]) -> None:
        for each in found:
            sensor = (each.orig or each.resp or "")[:_SENSOR]
            waiting = self._waiting.setdefault(sensor, deque(maxlen=MAX_WAITING))
            self._counts["lost"] += len(waiting) == MAX_WAITING
            waiting.append(each)
