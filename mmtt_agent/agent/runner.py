"""The model on threads of its own, and its replacement by another while windows come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..classifier import Verdicts
from ..drift import Drift, Drifted
from ..incidents import IncidentModel
from ..series import SeriesBatch


class Model(Protocol):
    """What is run: :class:`mmtt_agent.classifier.Classifier`, or a test's."""

    model: str
    #: How it judges evidence over connections; None where it can't.
    incidents: IncidentModel | None
    #: How far windows are from what a site's own answers were learnt from; None where it has none.
    drift: Drift | None

    def classify(self, batch: SeriesBatch) -> Verdicts: ...


class Runner:
    """Runs windows on the model of the time, on ``threads`` threads at once."""

    def __init__(self, model: Model, threads: int) -> None:
        self._model = model
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mmtt-model")
        self._since: dict[int, float] = {}  # what runs: when it began
        self._jobs = 0

    @property
    def model(self) -> str:
        """The model column of ``mmtt.log`` for windows that are run from now on."""
        return self._model.model

    @property
    def incidents(self) -> IncidentModel | None:
        """How the model of the time judges evidence over connections."""
        return self._model.incidents

    @property
    def drift(self) -> Drifted | None:
        """How far the windows so far are from those that the model of the time has learnt this site from; None where it
        has not, or too few have come."""
        return self._model.drift.now() if self._model.drift else None

    async def classify(self, series: SeriesBatch) -> tuple[Verdicts, str]:
        """The verdicts, and the model that gave them."""
        model = self._model
        self._jobs = number = self._jobs + 1
        self._since[number] = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, model.classify, series), model.model
        finally:
            del self._since[number]

    async def replace(self, load: Callable[..., Model], *arguments: Any) -> None:
        """Load another model beside the one that runs, and run it from the next windows on.

        Raises:
            Exception: whatever ``load`` raises; the old model goes on.
        """
        self._model = await asyncio.to_thread(load, *arguments)

    @property
    def busy_for(self) -> float:
        """Seconds since the oldest windows that are being run were begun; 0 where none are."""
        return time.monotonic() - min(self._since.values()) if self._since else 0.0

    def close(self) -> None:
        """Don't wait for what still runs: it was lost with its connection."""
        self._pool.shutdown(wait=False, cancel_futures=True)
