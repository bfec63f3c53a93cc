"""``mmtt sniff`` as a service: workers that take packets, a desk that takes what they tell, signals, who watches."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from .. import __version__, drift
from ..agent import chosen, http
from ..agent.log import logger
from ..agent.metrics import Exposition
from ..agent.settings import changes
from ..agent.systemd import Notifier, feed_watchdog
from ..agent.tally import Tally
from ..capture.left_out import left_out
from .config import Config
from .crew import STUCK, Crew, CrewError
from .desk import Desk, Evidence
from .errors import LostError
from .nursery import NurseryError
from .output import Output, preload

# A desk that has been at one thing for so many seconds hears nobody.
_LISTENS = 5.0
#: Settings that a reload takes.
_TAKEN = ("bundle", "false_positives", "incidents", "thresholds")
# Seconds beyond stop_timeout in which all has to have ended.
_GRACE = 10.0


class Service:
    """Gives verdicts until told to stop. What needs privileges is done, and these are given up, when it is made.

    Args:
        read: reads the settings again, for SIGHUP.
        form: what to write: one of :data:`.config.FORMATS`.
        duration: seconds after which to stop; None for as long as nobody says so.

    Raises:
        BundleError, ConfigError: the bundle can't be used.
        SniffError: packets can't be had.
        SinkError, OSError: verdicts can't be written.
    """

    def __init__(self, config: Config, read: Callable[[], Config], form: str, duration: float | None = None) -> None:
        self._config, self._read, self._duration = config, read, duration
        self._in_force = config  # with what reloads have changed
        bundle = chosen.bundle(config)
        preload(config, form)
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        self._fault: Exception | None = None
        self._crew = Crew(config, bundle, self._fail)
        self._output = Output(config, form, lambda level, text: getattr(logger, level)("%s", text))
        self._tally, self._evidence = Tally(), Evidence(bundle.incidents, chosen.judging(config))
        self._desk = Desk(
            self._evidence,
            self._tally,
            self._output,
            lambda number, message: self._in_loop(self._crew.hear, number, message),
            lambda error: self._in_loop(self._fail, error),
            config.community_id_seed if config.community_id or form == "eve" else None,
        )
        self._systemd = Notifier(os.environ)
        self._started = time.time()
        self._reloads, self._reload_problem = {"ok": 0, "failed": 0}, ""

    async def run(self) -> None:
        """
        Raises:
            CrewError: packets can't be had, or not any more.
            OutputError: standard output takes no more.
            LostError: it has come to its end, and not all rows could be written.
        """
        self._loop = loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(4, "mmtt"))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        beside: list[asyncio.Future[None]] = []
        watched = None
        try:
            await self._crew.begin(self._desk.add)
            self._desk.start()
            exposition = Exposition(self.status, self._tally.histograms)
            watched = await http.listen_if_possible(self._config.metrics.listen, self.status, exposition.text)
            work = (self._reload_when_told(), self._look_after_workers(), *self._tell_systemd())
            beside = [asyncio.ensure_future(each) for each in work]
            self._systemd.tell(READY=1)
            logger.info("model %s, listening on %s", self._crew.bundle.model, ", ".join(self._config.interfaces))
            if self._crew.bundle.incidents is None:
                logger.info("it finds no incidents; models of mmtt from 0.5.0 on do")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._duration)
            if self._fault is None:
                await self._end()
        finally:
            for task in beside:
                task.cancel()
            if watched:
                watched.close()
            self._crew.kill()
        if self._fault is not None:
            raise self._fault
        if lost := self._output.lost:
            raise LostError(f"{lost:,} rows could not be written: {self._output.trouble}")

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, (click.ClickException, CrewError, NurseryError, OSError)):
            error = CrewError(f"a fault in mmtt: {type(error).__name__}: {error}; please report it")
        self._fault = self._fault or error
        self._stop.set()

    def _signalled(self) -> None:
        if self._stop.is_set():
            self._crew.kill()
            os._exit(1)  # told twice: at once
        self._stop.set()

    async def _end(self) -> None:
        """Finish what is open, and say what there was."""
        self._systemd.tell(STOPPING=1)
        seconds = self._config.stop_timeout
        logger.info("stopping: finishing what is open")
        self._crew.stop(seconds)
        give_up = time.monotonic() + seconds + _GRACE
        while not self._crew.is_over and time.monotonic() < give_up and not self._fault:
            await asyncio.sleep(0.02)
        if not self._crew.is_over:
            logger.error("a worker has not ended within %g s of the time that it had: it is ended", _GRACE)
            self._crew.kill()
        self._desk.end()
        written = await asyncio.to_thread(self._desk.join, max(1.0, give_up - time.monotonic()))
        for line in self._summary():
            logger.info("%s", line)
        if not written:
            logger.error("not all verdicts could be written within %g s: nobody takes them", seconds + _GRACE)
            self._crew.kill()
            os._exit(1)  # whoever is to be written to holds up every other way out

    def _summary(self) -> Iterator[str]:
        total, statuses, lost = self._crew.total, self._desk.statuses, self._crew.lost
        yield (
            f"{total.packets:,} packets, {total.drops:,} of them lost by the kernel; {total.seen:,} connections, "
            f"{total.evicted:,} given up as there were too many; {sum(statuses.values()):,} windows: "
            f"{statuses['ok']:,} with a verdict, {statuses['too_short']:,} too short, {statuses['shed']:,} shed, "
            f"{statuses['timeout']:,} failed; {total.windows['lost'] + lost['windows']:,} lost, "
            f"{self._output.lost:,} rows not written"
        )
        if untold := total.windows["untold"]:
            yield f"{untold:,} connections that came to nothing are no evidence, as too much waited to be told"
        if text := left_out({"packets": total.taken, **total.left_out}, total.kinds):
            yield text
        if self._crew.restarts:
            yield f"{self._crew.restarts} workers ended before their time, with {lost['connections']:,} connections"

    async def _look_after_workers(self) -> None:
        told = time.monotonic()
        while True:
            await asyncio.sleep(1)
            # Where nobody takes the rows, workers have to wait with theirs.
            self._crew.end_stuck(self._desk.silent_for < _LISTENS)
            if time.monotonic() - told >= self._config.log.counts_every:
                told = time.monotonic()
                for line in self._summary():
                    logger.info("so far: %s", line)

    def _tell_systemd(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on telling it."""
        yield self._tell_status()
        if seconds := self._systemd.watchdog:
            # A worker that hangs is replaced; it is no reason to begin all anew.
            feed = partial(self._systemd.tell, WATCHDOG=1)
            yield feed_watchdog(feed, seconds / 3, lambda: self._desk.silent_for < max(seconds, STUCK))

    async def _tell_status(self) -> None:
        """A line for `systemctl status`, when it is another."""
        told = ""
        while True:
            said = self.problem or f"listening on {', '.join(self._config.interfaces)}"
            if told != (told := f"{self._crew.bundle.model}: {said}"):
                self._systemd.tell(STATUS=told)
            await asyncio.sleep(1)

    @property
    def problem(self) -> str:
        """Why no verdicts are given now, or not all; empty where all is well."""
        if self._stop.is_set():
            return "stopping"
        if self._desk.silent_for >= _LISTENS:
            return "nobody takes the verdicts: they wait"
        return self._crew.problem or self._output.problem

    def status(self) -> dict[str, Any]:
        """All there is to know, in JSON's types; times are Unix time or seconds. What ``mmtt agent`` tells has the same
        name."""
        config, crew, now, problem = self._config, self._crew, time.time(), self.problem
        total, statuses, lost = crew.total, self._desk.statuses, crew.lost
        answered = {"ok": statuses["ok"], "shed": statuses["shed"], "error": statuses["timeout"]}
        return {
            "agent": config.id,
            "version": __version__,
            "pid": os.getpid(),
            "now": round(now, 3),
            "started": round(self._started, 3),
            "healthy": not problem,
            "problem": problem,
            "model": crew.bundle.model,
            "bundle": self._in_force.bundle,
            "thresholds": asdict(self._in_force.thresholds),
            "reloads": self._reloads,
            "reload_problem": self._reload_problem,
            "threads": config.workers * len(config.interfaces),
            "capture": {
                "interfaces": config.interfaces,
                "filter": config.filter,
                "packets": total.packets,
                "dropped": total.drops,
                "left_out": total.left_out,
                "flows": {
                    "seen": total.seen,
                    "open": total.open,
                    "evicted": total.evicted,
                    "lost": lost["connections"],
                },
                "restarts": crew.restarts,
                "workers": crew.status(),
            },
            "windows": {
                "received": total.windows["received"],
                "too_short": statuses["too_short"],
                "answered": answered,
                "lost": total.windows["lost"] + lost["windows"],
                "in_hand": total.windows["in_hand"],
                "queued": total.windows["in_hand"],
            },
            "output": {
                "written": self._output.written,
                "lost": self._output.lost,
                "problem": self._output.problem,
            },
            "incidents": self._evidence.incidents(),
            "evidence": self._evidence.status(),
            "drift": drift.status(total.drift),
            **self._tally.status(now),
        }

    async def _reload_when_told(self) -> None:
        """Make logs anew that were rotated away, and replace the model, each time that SIGHUP says so."""
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._desk.reopen()
            old = self._crew.bundle.model
            self._systemd.reloading()
            try:
                # What a restart would read, too: a bundle may have been named there anew.
                config = self._read()
                bundle = await asyncio.to_thread(chosen.bundle, config)
                if problem := await self._crew.use(bundle):
                    raise CrewError(problem)
            except Exception as error:  # noqa: BLE001 - whatever it is, the old model goes on
                self._reloads["failed"] += 1
                self._reload_problem = str(error)
                logger.error("not reloaded, model %s goes on: %s", old, error)
                continue
            finally:
                self._systemd.tell(READY=1)
            self._reloads["ok"] += 1
            self._reload_problem = ""
            self._in_force = config
            logger.info("reloaded: model %s%s", bundle.model, f" instead of {old}" if old != bundle.model else "")
            self._desk.use(bundle.incidents, chosen.judging(config), self._say_anew)
            if changed := changes(self._config, config, _TAKEN):
                logger.warning("a reload does not take these: restart for %s", changed)

    def _say_anew(self, anew: bool) -> None:
        if anew:
            logger.warning("incidents are judged otherwise from now on: evidence over connections begins anew")
