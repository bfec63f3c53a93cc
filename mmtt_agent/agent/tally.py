"""What the model has said since the agent started, and how long it took. No sockets or clocks; counted per job."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from ..classifier import Verdicts

#: Flows kept for whoever watches, and of one job at most: a capture full of them must not cost more than others.
_KEPT, _OF_A_JOB = 200, 4
#: A flow that the model takes for less likely malicious than this is not worth showing.
_SUSPICIOUS = 0.1
#: Seconds for which a suspicious flow is shown, and how many at most.
_RECENT, _SHOWN = 600.0, 20
#: Batches whose latency the quantiles are of.
_LATEST = 1000
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Job(Protocol):
    """Windows that were run as one."""

    @property
    def arrived(self) -> Sequence[float]:
        """When each batch of them came in, by a clock."""

    def flow(self, row: int) -> tuple[str, int]:
        """The uid and the window's number of one of them."""


class Tally:
    """Counts of verdicts, histograms of times, and the most suspicious flows of late."""

    def __init__(self) -> None:
        self.services: Counter[str] = Counter()
        self.applications: Counter[str] = Counter()
        self.malicious = 0
        self.malicious_kinds: Counter[str] = Counter()
        self.histograms = CollectorRegistry()
        self._waited: deque[float] = deque(maxlen=_LATEST)
        self._suspicious: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._answer = Histogram(
            "mmtt_agent_answer_seconds",
            "From a batch's arrival to its answer: queue and model",
            buckets=_BUCKETS,
            registry=self.histograms,
        )
        self._model = Histogram(
            "mmtt_agent_model_seconds",
            "Of a run of the model on up to 256 windows",
            buckets=_BUCKETS,
            registry=self.histograms,
        )

    def job(self, job: Job, verdicts: Verdicts, begun: float, now: float, clock: float) -> None:
        """A job is done.

        Args:
            begun, now: when it went to the model and came back, by the clock of its ``arrived``.
            clock: the time of day, for people.
        """
        self._model.observe(now - begun)
        for arrived in job.arrived:
            self._answer.observe(now - arrived)
            self._waited.append(now - arrived)
        self.services.update(verdicts.service)
        self.applications.update(verdicts.application)
        self.malicious += int(verdicts.malicious.sum())
        self.malicious_kinds.update(filter(None, verdicts.malicious_kind))
        rows = np.flatnonzero(verdicts.malicious_score >= _SUSPICIOUS)
        worst = rows[np.argsort(-verdicts.malicious_score[rows], kind="stable")[:_OF_A_JOB]]
        for row in worst.tolist():
            uid, window = job.flow(row)
            self._suspicious.append(
                {
                    "ts": round(clock, 3),
                    "uid": uid,
                    "window": window,
                    "service": verdicts.service[row],
                    "application": verdicts.application[row],
                    "malicious": bool(verdicts.malicious[row]),
                    "malicious_score": float(verdicts.malicious_score[row]),
                    "malicious_kind": verdicts.malicious_kind[row],
                }
            )

    def status(self, now: float) -> dict[str, Any]:
        """All of it in JSON's types; ``now`` by time of day."""
        return {
            "latency": self.latency(),
            "services": self.services,
            "applications": self.applications,
            "malicious": self.malicious,
            "malicious_kinds": self.malicious_kinds,
            "suspicious": self.suspicious(now - _RECENT)[:_SHOWN],
        }

    def suspicious(self, since: float) -> list[dict[str, Any]]:
        """The flows since ``since`` by time of day, each by its worst window, the most suspicious first."""
        worst: dict[str, dict[str, Any]] = {}
        for flow in self._suspicious:
            known = worst.get(flow["uid"])
            if flow["ts"] >= since and (not known or flow["malicious_score"] > known["malicious_score"]):
                worst[flow["uid"]] = flow
        return sorted(worst.values(), key=lambda flow: (-flow["malicious_score"], -flow["ts"]))

    def latency(self) -> dict[str, float | None]:
        """Seconds from a batch's arrival to its answer, of the latest batches."""
        if not self._waited:
            return {"p50": None, "p99": None}
        p50, p99 = np.quantile(list(self._waited), (0.5, 0.99)).tolist()
        return {"p50": round(p50, 6), "p99": round(p99, 6)}
