"""The workers of ``mmtt sniff``: processes that are begun, begun again when they end, and added up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from ..agent.log import logger
from ..bundle import Bundle
from . import privileges, ring, worker
from .config import Config
from .messages import FromWorker, Load, Loaded, Ready, Refused, State, Stop, ToWorker, Use
from .nursery import Nursery, NurseryError

#: How often workers of an interface may end by themselves: for each new one a socket is kept.
MOST_ENDS = 8
#: A worker that says nothing for so many seconds is ended, and another begun.
STUCK = 30.0
# Seconds for a worker to begin: it loads the model.
_BEGIN = 60.0
# Seconds before another is begun in the place of one that has ended.
_PAUSE = 0.5
# Packets of which half may be wrong by chance.
_SOME = 1000
# Seconds from one word on the same matter to the next.
_QUIET = 60.0


class CrewError(Exception):
    """There can be no verdicts; the text is one line."""


@dataclass(slots=True)
class _One:
    """A worker, and the latest that it has said of itself."""

    number: int
    interface: str
    process: int
    pipe: Connection
    state: State = field(default_factory=State)
    heard: float = field(default_factory=time.monotonic)
    problem: str = ""  # why it ends


class Crew:
    """
    Args:
        fail: called with why there can be no verdicts any more.

    Raises:
        SniffError: packets can't be had. What needs privileges is done when this is made, and these are given up.
    """

    def __init__(
        self,
        config: Config,
        bundle: Bundle,
        fail: Callable[[Exception], None],
    ) -> None:
        user = privileges.account(config.user)
        self._config, self._fail = config, fail
        self.bundle = bundle  # that workers which begin from now on run
        sockets: dict[str, list[ring.Opened]] = {
            interface: [ring.opened(interface, config.filter) for _ in range(config.workers + MOST_ENDS)]
            for interface in config.interfaces
        }
        privileges.drop(user)
        self._nursery = Nursery(worker.main, sockets, ring.Opened.close)
        self._ends: Counter[str] = Counter()  # by interface
        self._groups: dict[str, int | None] = dict.fromkeys(config.interfaces)
        if config.workers > 1:
            # Numbers of groups are for all programs: those of this one are its own.
            number = os.getpid() * len(config.interfaces)
            self._groups = {name: (number + place) % 65535 + 1 for place, name in enumerate(config.interfaces)}
        self._workers: dict[int, _One] = {}
        self._numbers = 0
        self._gone: list[tuple[str, State]] = []  # what those that have ended have counted, by interface
        self._lost = Counter[str]()  # with those that ended before their time
        self.restarts = 0
        self._stopping = False
        self._said: dict[str, float] = {}
        self._told_drops: Counter[str] = Counter()
        self._replies: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self._again: set[asyncio.Future[None]] = set()

    async def begin(self, add: Callable[[int, str, Connection], None]) -> None:
        """
        Args:
            add: takes each worker that has begun, now and later: its number, its interface, and the pipe on which it
                tells what it finds.

        Raises:
            CrewError, NurseryError: one of them can't begin.
        """
        self._add = add
        begun = [self._start(interface) for interface in self._config.interfaces for _ in range(self._config.workers)]
        for each in begun:
            if problem := await self._first_word(each):
                raise CrewError(problem)
        for each in begun:
            self._add(each.number, each.interface, each.pipe)

    def _start(self, interface: str) -> _One:
        self._numbers += 1
        most = max(1, self._config.max_connections // self._config.workers)
        task = worker.Task(self._config, self.bundle, interface, self._groups[interface], most)
        process, pipe = self._nursery.make(interface, task)
        self._workers[self._numbers] = made = _One(self._numbers, interface, process, pipe)
        return made

    async def _first_word(self, each: _One) -> str:
        """Why it can't begin; empty once it has."""

        def wait() -> FromWorker | None:
            try:
                return each.pipe.recv() if each.pipe.poll(_BEGIN) else None
            except (EOFError, OSError):
                return None

        match await asyncio.to_thread(wait):
            case Ready(warnings):
                each.heard = time.monotonic()
                for warning in warnings:
                    self._say("warning", warning, warning)
                return ""
            case Refused(problem):
                return problem
        return f"{each.interface}: a worker has not begun within {_BEGIN:g} s, or has ended before"

    def hear(self, number: int, message: FromWorker | None) -> None:
        """What a worker tells of itself; None: its pipe has ended."""
        if (each := self._workers.get(number)) is None:
            return
        each.heard = time.monotonic()
        match message:
            case State():
                self._hear_state(each, message)
            case Loaded(problem):
                self._replies.put_nowait((number, problem))
            case Refused(problem):
                each.problem = problem
            case None:
                self._ended(each)

    def _hear_state(self, each: _One, state: State) -> None:
        had, each.state = each.state, state
        if state.problem and state.problem != had.problem:
            logger.warning("%s", state.problem)
        elif had.problem and not state.problem:
            logger.info("%s: packets can come again", each.interface)
        if state.failed and state.failed != had.failed:
            self._say("error", f"the model failed on some windows: {state.failed}", "model")
        wrong = sum(state.left_out.get(f"bad_{what}_checksum", 0) for what in ("ip", "tcp", "udp"))
        if state.taken > _SOME and wrong > state.taken / 2:
            self._say(
                "warning",
                f"{each.interface}: {wrong:,} of {state.taken:,} packets have a wrong checksum and are left out: where "
                "a network card fills checksums in after this, use -C (checksums: false)",
                f"checksums {each.interface}",
            )
        drops, packets = self.dropped(each.interface)
        if (more := drops - self._told_drops[each.interface]) > 0:
            told = self._say(
                "warning",
                f"{each.interface}: the kernel has lost {more:,} packets ({drops:,} of {packets:,} in all), as they "
                "come faster than they are looked into: use more workers (--workers), or a filter for what need not be "
                "seen",
                f"drops {each.interface}",
            )
            if told:
                self._told_drops[each.interface] = drops

    def _say(self, level: str, text: str, matter: str) -> bool:
        """Whether it was said: the same matter is once in a while."""
        now = time.monotonic()
        if now < self._said.get(matter, 0.0):
            return False
        self._said[matter] = now + _QUIET
        getattr(logger, level)("%s", text)
        return True

    # The end of one, and of all.

    def _ended(self, each: _One) -> None:
        del self._workers[each.number]
        self._gone.append((each.interface, each.state))
        self._gone = _added_up(self._gone)
        self._replies.put_nowait((each.number, "a worker has ended meanwhile"))
        if each.state.over:
            return
        self._lost["connections"] += each.state.open
        self._lost["windows"] += each.state.windows["in_hand"]
        self._say_end(each)
        if self._stopping:
            return
        self._ends[each.interface] += 1
        if self._ends[each.interface] > MOST_ENDS:
            self._fail(
                CrewError(f"{each.interface}: workers have ended {MOST_ENDS + 1} times; see what was said before")
            )
            return
        self.restarts += 1
        task = asyncio.ensure_future(self._replace(each.interface))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    def _say_end(self, each: _One) -> None:
        how = each.problem or "it was ended, perhaps for want of memory"
        logger.error(
            "a worker of %s is gone: %s; lost with it are %d open connections and %d windows that waited",
            each.interface,
            how,
            each.state.open,
            each.state.windows["in_hand"],
        )

    async def _replace(self, interface: str) -> None:
        await asyncio.sleep(_PAUSE)
        if self._stopping:
            return
        try:
            each = self._start(interface)
        except NurseryError as error:
            self._fail(error)
            return
        problem = await self._first_word(each)
        if problem:
            each.problem = problem
            _kill(each)
            each.pipe.close()
            self._ended(each)
            return
        logger.info("another worker of %s has begun", interface)
        self._add(each.number, interface, each.pipe)

    def end_stuck(self, listened: bool) -> None:
        """End those that have said nothing for long: to be called now and then.

        Args:
            listened: somebody would have heard it.
        """
        for each in self._workers.values():
            if not listened:
                each.heard = time.monotonic()
            elif time.monotonic() - each.heard > STUCK and not each.problem:
                each.problem = f"it has said nothing for {STUCK:g} s, and was ended"
                _kill(each)

    def stop(self, seconds: float) -> None:
        """Have all of them finish what is open, for which there are so many seconds."""
        self._stopping = True
        for each in self._workers.values():
            _tell(each, Stop(seconds))

    def kill(self) -> None:
        """End all of them at once; there can be no others then."""
        self._stopping = True
        for each in self._workers.values():
            _kill(each)
        self._nursery.close()

    @property
    def is_over(self) -> bool:
        """Whether none is left."""
        return not self._workers

    # Another bundle.

    async def use(self, bundle: Bundle) -> str:
        """Have all of them run it, or none.

        Returns:
            Why the old one goes on; empty if the new one runs.
        """
        asked = {*self._workers}
        while not self._replies.empty():
            self._replies.get_nowait()
        for number in asked:
            # It is large, and a worker that hangs takes nothing.
            await asyncio.to_thread(_tell, self._workers[number], Load(bundle))
        problems = []
        with suppress(asyncio.TimeoutError):
            while asked:
                number, problem = await asyncio.wait_for(self._replies.get(), _BEGIN)
                if number in asked:
                    asked.discard(number)
                    problems += [problem] if problem else []
        problems += [f"a worker has not loaded it within {_BEGIN:g} s"] if asked else []
        if not problems:
            self.bundle = bundle
        for each in self._workers.values():
            _tell(each, Use(forget=bool(problems)))
        return problems[0] if problems else ""

    # How they are.

    def dropped(self, interface: str) -> tuple[int, int]:
        """Packets of an interface that the kernel has lost, and all that there were."""
        states = [state for name, state in self._all() if name == interface]
        return sum(state.drops for state in states), sum(state.packets for state in states)

    @property
    def total(self) -> State:
        """What all have counted, those that have ended, too."""
        return _sum([state for _, state in self._all()])

    @property
    def lost(self) -> Counter[str]:
        """``connections`` and ``windows`` that were lost with workers that ended before their time."""
        return self._lost

    @property
    def problem(self) -> str:
        """Why packets can't come from one of the interfaces, or nobody takes them; empty where all is well."""
        told = next((each.state.problem for each in self._workers.values() if each.state.problem), "")
        missing = len(self._config.interfaces) * self._config.workers - len(self._workers)
        return told or ("a worker is gone, and not back yet" if missing else "")

    @property
    def silent_for(self) -> float:
        """Seconds since the one that has said nothing for longest has said something."""
        return time.monotonic() - min((each.heard for each in self._workers.values()), default=time.monotonic())

    def status(self) -> list[dict[str, object]]:
        """Of each in JSON's types."""
        return [
            {
                "interface": each.interface,
                "pid": each.process,
                "problem": each.problem or each.state.problem,
                "packets": each.state.packets,
                "dropped": each.state.drops,
                "open": each.state.open,
                "in_hand": each.state.windows["in_hand"],
            }
            for each in self._workers.values()
        ]

    def _all(self) -> list[tuple[str, State]]:
        return [*self._gone, *((each.interface, each.state) for each in self._workers.values())]


def _tell(each: _One, message: ToWorker) -> None:
    with suppress(OSError):  # one that is gone is noticed elsewhere
        each.pipe.send(message)


def _kill(each: _One) -> None:
    """One whose pipe has not ended: its number is no other's yet."""
    with suppress(ProcessLookupError):
        os.kill(each.process, signal.SIGKILL)


def _added_up(gone: list[tuple[str, State]]) -> list[tuple[str, State]]:
    """One for each interface, of which nothing is under way any more."""
    by_interface: dict[str, list[State]] = {}
    for interface, state in gone:
        by_interface.setdefault(interface, []).append(state)
    found = []
    for interface, states in by_interface.items():
        state = _sum(states)
        state.open = 0
        del state.windows["in_hand"]
        found.append((interface, state))
    return found


def _sum(states: list[State]) -> State:
    total = State()
    for name in ("packets", "drops", "taken", "seen", "open", "evicted"):
        setattr(total, name, sum(getattr(state, name) for state in states))
    left_out: Counter[str] = Counter()
    for state in states:
        left_out.update(state.left_out)
        total.windows.update(state.windows)
        for cause, kinds in state.kinds.items():
            of = Counter(total.kinds.get(cause, {}))
            of.update(kinds)
            total.kinds[cause] = dict(of)
        # Of several the one that knows most.
        if state.drift and (total.drift is None or state.drift.windows > total.drift.windows):
            total.drift = state.drift
    total.left_out = dict(left_out)
    return total
