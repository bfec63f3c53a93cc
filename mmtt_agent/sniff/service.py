"""``mmtt sniff`` as a service: workers that take packets, a desk that takes what they tell, signals, who watches."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from .. import __version__, drift
from ..agent import chosen, http
from ..agent.log import logger
from ..agent.metrics import Exposition
from ..agent.systemd import Notifier, feed_watchdog
from ..agent.tally import RECENT, Tally
from ..bundle import Bundle
from ..capture.left_out import left_out
from . import privileges, worker
from .config import Config
from .desk import Desk, Evidence
from .messages import FromWorker, Load, Loaded, Ready, Refused, State, Stop, ToWorker, Use
from .output import Output

#: A worker that has said nothing for so many seconds is ended, and started again.
STUCK = 30.0
#: Workers that may end within so many seconds by themselves before all is given up.
MOST_ENDS, WITHIN = 5, 60.0
# Seconds from one word on lost packets to the next.
_SAY_EVERY = 60.0
# Seconds for a worker to begin: it loads the model.
_BEGIN = 60.0
# Seconds beyond stop_timeout in which all has to end.
_GRACE = 10.0


class ServiceError(Exception):
    """There can be no verdicts; the text is one line."""


@dataclass(slots=True)
class _Worker:
    """A process, and the latest that it has said of itself."""

    number: int
    interface: str
    process: SpawnProcess
    pipe: Connection
    state: State = field(default_factory=State)
    heard: float = field(default_factory=time.monotonic)
    problem: str = ""


class Service:
    """Gives verdicts until told to stop.

    Args:
        read: reads the settings again, for SIGHUP.
        form: one of :data:`.config.FORMATS`.
        duration: seconds after which to stop; None for as long as nobody says so.

    Raises:
        BundleError, ConfigError: the bundle can't be used.
    """

    def __init__(self, config: Config, read: Callable[[], Config], form: str, duration: float | None = None) -> None:
        self._config, self._read, self._form, self._duration = config, read, form, duration
        self._bundle = chosen.bundle(config)
        self._in_force = config  # the settings that a reload may change
        self._tally = Tally()
        self._evidence = Evidence(self._bundle.incidents, chosen.judging(config))
        self._systemd = Notifier(os.environ)
        self._started = time.time()
        self._reloads, self._reload_problem = {"ok": 0, "failed": 0}, ""
        self._workers: dict[int, _Worker] = {}
        self._numbers = 0
        self._before = State()  # of workers that are gone, added up
        self._lost_connections = 0
        self._restarts = 0
        self._ends: deque[float] = deque()
        self._fault: BaseException | None = None
        self._replies: asyncio.Queue[Loaded] = asyncio.Queue()
        self._said: dict[str, float] = {}
        self._dropped: Counter[str] = Counter()  # packets by interface, that the log knows of
        self._output: Output | None = None

    async def run(self) -> None:
        """
        Raises:
            ServiceError: packets can't be had, or verdicts can't be written.
            OutputError: standard output takes no more.
        """
        self._loop = asyncio.get_running_loop()
        self._stop, self._reload = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        config = self._config
        beside: list[asyncio.Future[Any]] = []
        watched = None
        try:
            begun = await self._begin_all()
            if config.user:
                privileges.drop(config.user)
            self._output = Output(config, self._form, self._say_in_log)
            self._desk = Desk(self._evidence, self._tally, self._output, self._hear_in_desk, self._fail_in_desk)
            self._desk.start()
            for each in begun:
                self._desk.add(each.number, each.interface, each.pipe)
            exposition = Exposition(self.status, self._tally.histograms)
            watched = await http.listen_if_possible(config.metrics.listen, self.status, exposition.text)
            beside = [
                asyncio.ensure_future(each) for each in (self._reload_when_told(), self._look(), *self._tell_systemd())
            ]
            self._systemd.tell(READY=1)
            logger.info("model %s on %s", self._bundle.model, self._named())
            if self._bundle.incidents is None:
                logger.info("model %s finds no incidents; those of mmtt from 0.5.0 on do", self._bundle.model)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._duration)
            if not self._fault:
                await self._end()
        finally:
            for task in beside:
                task.cancel()
            if watched:
                watched.close()
            for each in self._workers.values():
                each.process.kill()
        if self._fault:
            raise self._fault

    # Workers.

    async def _begin_all(self) -> list[_Worker]:
        """A worker for each ring.

        Raises:
            ServiceError: one of them can't begin.
        """
        config = self._config
        begun = []
        for place, interface in enumerate(config.interfaces):
            # Numbers of groups are the machine's: another program's must not be met.
            self._groups[interface] = (os.getpid() + place * 257) % 65535 + 1 if config.workers > 1 else None
            begun += [self._start(interface) for _ in range(config.workers)]
        for each in begun:
            if problem := await self._first_word(each):
                raise ServiceError(problem)
        return begun

    _groups: dict[str, int | None] = {}  # noqa: RUF012

    def _start(self, interface: str) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        self._numbers += 1
        connections = max(1, self._config.max_connections // self._config.workers)
        task = worker.Task(self._in_force, interface, self._groups[interface], connections)
        process = context.Process(target=worker.main, args=(task, theirs), name=f"mmtt-{interface}", daemon=True)
        process.start()
        theirs.close()
        made = _Worker(self._numbers, interface, process, ours)
        self._workers[made.number] = made
        return made

    async def _first_word(self, each: _Worker) -> str:
        """Why it can't begin; empty once it has."""

        def wait() -> FromWorker | None:
            try:
                return each.pipe.recv() if each.pipe.poll(_BEGIN) else None  # type: ignore[no-any-return]
            except (EOFError, OSError):
                return None

        match await asyncio.to_thread(wait):
            case Ready(warnings):
                each.heard = time.monotonic()
                for warning in warnings:
                    self._say_at_times("warning", warning)
                return ""
            case Refused(problem):
                return problem
        return f"{each.interface}: the worker has ended before it had begun, or has not begun within {_BEGIN:g} s"

    def _hear_in_desk(self, number: int, message: FromWorker | None) -> None:
        self._loop.call_soon_threadsafe(self._hear, number, message)

    def _fail_in_desk(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: BaseException) -> None:
        self._fault = self._fault or error
        self._stop.set()

    def _say_in_log(self, level: str, text: str) -> None:
        getattr(logger, level)("%s", text)

    def _say_at_times(self, level: str, text: str, about: str = "") -> None:
        """The same, or what is about the same, is said once in a while."""
        about, now = about or text, time.monotonic()
        if now >= self._said.get(about, 0.0):
            self._said[about] = now + _SAY_EVERY
            getattr(logger, level)("%s", text)

    def _hear(self, number: int, message: FromWorker | None) -> None:
        if (each := self._workers.get(number)) is None:
            return
        each.heard = time.monotonic()
        match message:
            case State():
                had, each.state = each.state, message
                if message.problem and message.problem != had.problem:
                    logger.warning("%s", message.problem)
                elif had.problem and not message.problem:
                    logger.info("%s: packets come again", each.interface)
                if message.failed and message.failed != had.failed:
                    self._say_at_times("error", f"the model failed on windows: {message.failed}", "model")
                self._say_drops(each.interface)
            case Loaded():
                self._replies.put_nowait(message)
            case Refused(problem):
                each.problem = problem
            case None:
                del self._workers[number]
                task = asyncio.ensure_future(self._gone(each))
                task.add_done_callback(self._tasks.discard)
                self._tasks.add(task)

    _tasks: set[asyncio.Future[None]] = set()  # noqa: RUF012

    def _say_drops(self, interface: str) -> None:
        """Lost packets are said when they are lost, but not each time."""
        states = [self._before_of(interface), *(w.state for w in self._workers.values() if w.interface == interface)]
        drops, packets = sum(each.drops for each in states), sum(each.packets for each in states)
        if (more := drops - self._dropped[interface]) > 0 and time.monotonic() >= self._said.get(f"drops {interface}", 0):
            self._dropped[interface] = drops
            self._say_at_times(
                "warning",
                f"{interface}: the kernel has lost {more:,} packets more, {drops:,} of {packets:,} in all, as they came "
                "faster than they are looked into: give more workers (--workers), or a filter for what need not be seen",
                f"drops {interface}",
            )
