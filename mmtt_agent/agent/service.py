"""The agent as a service: one connection to Zeek after the other, threads for the network, signals."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__, drift, whole
from ..incidents import Budget
from ..record import Recorder
from . import http, native
from .chosen import judging
from .config import Config
from .connection import Connection, ConnectionProblem, Link, NobodyListens, open_websocket, tls_context
from .evidence import Evidence
from .log import log_counts, logger
from .metrics import Exposition
from .runner import Model, Runner
from .session import MAX_JOB, Session, State
from .settings import changes
from .systemd import Notifier, feed_watchdog
from .tally import Tally

#: Seconds that a run of the model may take; it takes milliseconds.
STUCK = 30.0
# Seconds in the end for what is recorded, within the TimeoutStopSec of the systemd unit.
_WRITE_OUT = 8.0
#: What the agent keeps of the last days' incidents in record.directory, and every how many seconds.
_ALERTS, _ALERTS_EVERY = "alerts.json", 600.0
# Messages that are not used: the session's count, and its name for others.
_REFUSED = {
    "messages refused": "malformed",
    "messages of another protocol": "protocol",
    "messages for others": "foreign",
    "messages Zeek refused": "refused_by_zeek",
    "batches sent again while in hand": "repeated",
}


class ServiceError(Exception):
    """The agent can't go on; the text is one line."""


class Service:
    """Serves verdicts until told to stop.

    Args:
        load: loads the bundle of some settings, which has a threshold for their share of incidents if any.
        read: reads the settings again, for SIGHUP; it and ``load`` raise what makes a reload fail.
        offline: give each wire batch a run of its own, wait without limit for a Zeek that is busy.
        exit_with_zeek: stop when Zeek closes the connection rather than connect again.
        memory: takes the windows that have got their verdicts; the service closes it when it ends.

    Raises:
        ConfigError: the certificates can't be used.
        BundleError: the bundle can't.
    """

    def __init__(
        self,
        config: Config,
        load: Callable[[Config], Model],
        read: Callable[[], Config],
        *,
        offline: bool = False,
        exit_with_zeek: bool = False,
        memory: Recorder | None = None,
    ) -> None:
        self._memory = memory
        self._config, self._load, self._read = config, load, read
        self._offline, self._exit_with_zeek = offline, exit_with_zeek
        self._tls = tls_context(config)
        self._listener = native.Listener(config) if config.url.startswith("broker:") else None
        self._runner = Runner(load(config), config.threads)
        self._thresholds = config.thresholds  # of the site's own, that are in force
        self._bundle = config.bundle  # of the model that runs; None for the one that is shipped
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        self._tally = Tally()
        self._evidence = Evidence(
            self._runner.incidents, judging(config), by_clock=not offline, per_day=config.alerts_per_day
        )
        # What a capture brings must not hang on what ran before it.
        lasts = config.alerts_per_day and config.record.directory and not offline
        self._alerts = Path(config.record.directory, _ALERTS) if lasts and config.record.directory else None
        self._restore_alerts()
        # An agent that Zeek has started inherits the socket of Zeek's unit, and has nothing to say there.
        self._systemd = Notifier({} if exit_with_zeek else os.environ)
        self._started = time.time()
        self._reloads = {"ok": 0, "failed": 0}
        self._serving: Connection | None = None
        self._session: Session | None = None
        self._connections_made, self._problem, self._reload_problem = 0, "", ""
        self._counts: Counter[str] = Counter()  # of all connections so far

    async def run(self) -> None:
        """Serve until stopped (or, with ``exit_with_zeek``, until Zeek is gone).

        Raises:
            ServiceError: with ``exit_with_zeek``, Zeek can't be reached, or nobody listens for ``connect_timeout``
                seconds.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        if not self._exit_with_zeek:
            loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        logger.info("agent %s with model %s", self._config.id, self._runner.model)
        if self._runner.incidents is None:
            logger.info("model %s finds no incidents; those of mmtt from 0.5.0 on do", self._runner.model)
        exposition = Exposition(self.status, self._tally.histograms)
        watched = await http.listen_if_possible(self._config.metrics.listen, self.status, exposition.text)
        work = self._reload_when_told(), self._keep_alerts(), *self._tell_systemd()
        beside = [asyncio.ensure_future(each) for each in work]
        # Not when Zeek is connected: it may come later, and go.
        self._systemd.tell(READY=1)
        try:
            await self._connections()
        finally:
            for task in beside:
                task.cancel()
            if watched:
                watched.close()
            self._runner.close()
            if self._listener:
                self._listener.close()
            if self._memory:
                self._memory.close(_WRITE_OUT)
                logger.info("%d windows recorded, %d not", self._memory.recorded, self._memory.dropped)
            self._write_alerts()
            log_counts(self._counts, "in all")

    def _restore_alerts(self) -> None:
        """Go on with the incidents of the last days."""
        if not self._alerts or not self._evidence.budget or not self._alerts.exists():
            return
        try:
            self._evidence.budget.restore(self._alerts.read_text())
        except (OSError, ValueError) as error:
            logger.warning("%s: %s: the alerts a day are learnt anew", self._alerts, error)

    def _write_alerts(self) -> None:
        if self._alerts and self._evidence.budget:
            try:
                whole.write(self._alerts, self._evidence.budget.as_json().encode())
            except OSError as error:
                logger.warning("%s: can't be written: %s", self._alerts, error.strerror or error)

    async def _keep_alerts(self) -> None:
        """Say when the threshold for incidents is another, and keep what it was found by."""
        said = None
        while True:
            await asyncio.sleep(_ALERTS_EVERY)
            # Another model's is not known again at first.
            if (budget := self._evidence.budget) and budget.threshold not in (None, said):
                said = budget.threshold
                logger.info(
                    "an incident has a score of %.4f from now on, for %g a day, by %d hours",
                    said,
                    budget.per_day,
                    budget.hours,
                )
            self._write_alerts()

    def _signalled(self) -> None:
        if self._stop.is_set():
            raise SystemExit(1)  # told twice: at once
        self._systemd.tell(STOPPING=1)
        logger.info("stopping: answering what is in hand")
        self._stop.set()

    def _tell_systemd(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on telling it."""
        yield self._tell_status()
        if seconds := self._systemd.watchdog:
            feed = partial(self._systemd.tell, WATCHDOG=1)
            # Neither a loop nor a model that hangs feeds it; a Zeek that is away is no fault of the agent's.
            yield feed_watchdog(feed, seconds / 3, lambda: self._runner.busy_for < min(STUCK, seconds))

    async def _tell_status(self) -> None:
        """A line for `systemctl status`, when it is another."""
        told = ""
        while True:
            session, said = self._session, self.problem
            if session and not said:
                said = f"connected to Zeek {session.zeek}"
            if told != (told := f"{self._runner.model}: {said}"):
                self._systemd.tell(STATUS=told)
            await asyncio.sleep(1)

    @property
    def problem(self) -> str:
        """Why no verdicts are given now; empty if they are."""
        if self._runner.busy_for > STUCK:
            return f"the model has been running on some windows for {self._runner.busy_for:.0f} s"
        if self._stop.is_set():
            return "stopping"
        if self._session is None or self._session.state is not State.SERVING:
            return f"not connected to Zeek{f': {self._problem}' if self._problem else ''}"
        return ""

    def status(self) -> dict[str, Any]:
        """All there is to know of the agent, in JSON's types; times are Unix time or seconds."""
        session, problem, now = self._session, self.problem, time.time()
        counts = self._counts + session.counts if session else self._counts
        return {
            "agent": self._config.id,
            "version": __version__,
            "pid": os.getpid(),
            "now": round(now, 3),
            "started": round(self._started, 3),
            "healthy": not problem,
            "problem": problem,
            "model": self._runner.model,
            "bundle": self._bundle,
            "thresholds": asdict(self._thresholds),
            "reloads": self._reloads,
            "reload_problem": self._reload_problem,
            "threads": self._config.threads,
            "zeek": {
                "url": self._config.url,
                "connected": session is not None and session.state is not State.SUBSCRIBING,
                "version": session.zeek if session else "",
                "nodes": session.nodes if session else 0,
                "connections": self._connections_made,
            },
            "windows": {
                "received": counts["flows"],
                "batches": counts["batches"],
                "answered": {status: counts[f"flows answered {status}"] for status in ("ok", "shed", "error")},
                "lost": counts["flows lost with the connection"],
                "in_hand": session.in_hand if session else 0,
                "queued": session.queued if session else 0,
            },
            "refused": {name: counts[what] for what, name in _REFUSED.items()},
            "incidents": self._evidence.incidents(),
            "evidence": self._evidence.status(),
            "alerts": _alerts(self._evidence.budget),
            "record": _record(self._memory),
            "drift": drift.status(self._runner.drift),
            **self._tally.status(now),
        }

    async def _reload_when_told(self) -> None:
        """Replace the model each time that SIGHUP says so."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            old = self._runner.model
            self._systemd.reloading()
            try:
                # What a restart would read, too: a bundle may have been named there anew.
                config = self._read()
                await self._runner.replace(self._load, config)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old model goes on
                self._reloads["failed"] += 1
                self._reload_problem = str(error)
                logger.error("not reloaded, model %s goes on: %s", old, error)
                continue
            finally:
                self._systemd.tell(READY=1)
            self._reloads["ok"] += 1
            self._reload_problem = ""
            logger.info("reloaded: model %s instead of %s", self._runner.model, old)
            self._bundle, self._thresholds = config.bundle, config.thresholds
            if self._evidence.use(self._runner.incidents, judging(config)):
                logger.warning("incidents are judged otherwise from now on: evidence over connections begins anew")
            if changed := changes(self._config, config, ("bundle", "incidents", "thresholds")):
                logger.warning("a reload does not take these: restart the agent for %s", changed)
            if self._serving:
                self._serving.model_changed()

    async def _connections(self) -> None:
        """One connection after the other."""
        now = asyncio.get_running_loop().time
        give_up = now() + self._config.connect_timeout
        failures, said = 0, ""
        while not self._stop.is_set():
            try:
                if await self._connection():
                    failures, said, self._problem = 0, "", ""
                    if self._exit_with_zeek:
                        return
            except ConnectionProblem as error:
                self._problem = str(error)
                if self._exit_with_zeek:
                    # Zeek has started this agent, perhaps an instant before it listens.
                    if not isinstance(error, NobodyListens) or now() >= give_up:
                        raise ServiceError(str(error)) from None
                elif str(error) != said:
                    said = str(error)
                    logger.warning("%s; trying again", said)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._pause(failures))
            failures += 1

    def _pause(self, failures: int) -> float:
        """Seconds before connecting again."""
        if self._exit_with_zeek:
            return 0.05
        reconnect = self._config.reconnect
        # Many agents that lose one Zeek must not come back in step.
        return min(reconnect.longest, reconnect.first * 2.0 ** min(failures, 30)) * random.uniform(0.5, 1)

    async def _connection(self) -> bool:
        """One connection from beginning to end; False where the agent was stopped before it was open.

        Raises:
            ConnectionProblem: it did not come about.
        """
        config = self._config
        opening: asyncio.Future[Link]
        if self._listener:
            opening = asyncio.ensure_future(self._listener.link())
        else:
            opening = asyncio.ensure_future(open_websocket(config, self._tls, patient=self._offline))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
            return False
        websocket = opening.result()
        self._connections_made += 1
        self._session = session = Session(
            agent=config.id,
            model=self._runner.model,
            credit=config.credit,
            max_queued=config.max_queued,
            max_job=1 if self._offline else MAX_JOB,
            evidence=self._evidence,
            in_order=self._offline,
            memory=self._memory,
        )
        try:
            self._serving = Connection(
                config,
                session,
                websocket,
                self._runner,
                self._tally,
                self._evidence,
                self._stop,
                parallel=config.threads,
                patient=self._offline,
            )
            await self._serving.run()
        finally:
            self._serving = self._session = None
            self._counts.update(session.counts)
        return True


def _record(memory: Recorder | None) -> dict[str, Any]:
    """What was recorded so far; nothing where there is no memory."""
    return {
        "directory": str(memory.directory) if memory else None,
        "recorded": memory.recorded if memory else 0,
        "waiting": memory.waiting if memory else 0,
        "dropped": memory.dropped if memory else 0,
        "problems": memory.problems if memory else 0,
        "problem": memory.problem if memory else "",
        "bytes": memory.size if memory else 0,
        "removed": memory.parts_removed if memory else 0,
    }


def _alerts(budget: Budget | None) -> dict[str, Any]:
    """How many incidents a day are asked for, and the threshold that was found for that; None where there is none."""
    return {
        "per_day": budget.per_day if budget else None,
        "threshold": budget.threshold if budget else None,
        "hours": budget.hours if budget else 0,
    }
