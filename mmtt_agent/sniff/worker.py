"""A worker of ``mmtt sniff``: packets of one ring to windows, windows to verdicts, in a process of its own.

One thread takes packets and never waits for anything else; one runs the model and tells the parent what comes of it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Protocol

import numpy as np

from ..bundle import Bundle
from ..capture import Windows
from ..capture.live import Found, LiveCapture
from ..capture.records import Records
from ..classifier import Classifier, Verdicts
from ..classify.evidence import About, about, flows, tries
from ..series import MAX_PAYLOAD_PACKETS, SeriesBatch
from .config import Config
from .errors import SniffError
from .messages import FromWorker, Load, Loaded, Ready, Refused, State, Stop, Told, ToWorker, Use, Without
from .ring import Opened, Ring
from .waiting import Batch, Waiting

#: Windows that are run as one: more at once are no faster, and later.
AT_ONCE = 256
#: Seconds that windows wait for others to be run with.
LINGER = 0.05
#: Seconds from one word on how it is to the next.
TELL_EVERY = 1.0
# Seconds to wait for packets, and how often the parent is listened to.
_LISTEN_EVERY = 0.05
# Packets that are older than those before by so many microseconds: the machine's clock was set back.
_SET_BACK = 5_000_000
# Microseconds by which the traffic's time may be behind the clock: the ring hands out what is younger than that.
_BEHIND = 250_000
# Seconds after the word to stop in which packets that the ring has are still taken.
_LAST_PACKETS = 0.15
# How much less than taking packets running the model matters to the scheduler (nice).
_NICE = 2


class Packets(Protocol):
    """Where packets come from: a ring, or a test's."""

    @property
    def trouble(self) -> str: ...

    def blocks(self, timeout: float) -> Iterator[Records]: ...

    def statistics(self) -> tuple[int, int]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Task:
    """What a worker is to do.

    Attributes:
        bundle: to be run.
        interface: whose packets.
        fanout: the group that shares them; None where it takes all.
        connections: that it may follow at once.
    """

    config: Config
    bundle: Bundle
    interface: str
    fanout: int | None
    connections: int


class Worker:
    """
    Args:
        classifier: runs the windows, until told otherwise.
        tell: takes what there is to say; called by one thread at a time.
        clock: the time of day in microseconds; None where time goes on by packets alone.
    """

    def __init__(
        self,
        config: Config,
        packets: Packets,
        live: LiveCapture,
        classifier: Classifier,
        tell: Callable[[FromWorker], None],
        clock: Callable[[], int] | None,
    ) -> None:
        self._packets, self._live, self._tell, self._clock = packets, live, tell, clock
        self._classifier = classifier
        self._next: Classifier | None = None
        self._waiting = Waiting(config.max_queued)
        self._state = State()
        self._failed = ""
        self._until: float | None = None  # by the monotonic clock, for verdicts in the end
        self._heard = self._told = 0.0
        self._loaded: list[Loaded] = []
        self._model = threading.Thread(target=self._of_the_model, name="mmtt-model", daemon=True)

    def run(self, hear: Callable[[], list[ToWorker]]) -> None:
        """Take packets until told to stop, then finish what is open.

        Args:
            hear: what the parent has said since the last time.

        Raises:
            EOFError: the parent is gone.
            SniffError: packets can't be had any more.
        """
        self._model.start()
        end: float | None = None
        while end is None or time.monotonic() < end:
            asked = time.monotonic()
            now = self._clock() if self._clock else 0
            quiet = True
            for records in self._packets.blocks(_LISTEN_EVERY):
                quiet = False
                if records.time.max() < self._live.now - _SET_BACK:
                    # Else no time passes until the clock has caught up, and nothing ends.
                    self._put(self._live.end())
                self._put(self._live.take(records))
                if time.monotonic() - asked > _LISTEN_EVERY:
                    self._listen(hear)
                    asked = time.monotonic()
            if quiet and self._clock:
                # All that is older has come out of the ring.
                self._put(self._live.advance(now - _BEHIND))
            self._listen(hear)
            if end is None and self._until is not None:
                end = min(self._until, time.monotonic() + _LAST_PACKETS)
        self._look()
        self._packets.close()
        self._put(self._live.end(), self._until)
        self._look()
        self._waiting.end()
        self._model.join()

    def _put(self, found: Found, until: float | None = None) -> None:
        """In parts that the model takes at once, however much was found."""
        connections, windows = found.connections, found.windows
        if len(windows) == 0 and len(connections):
            self._waiting.put(connections, windows, until)
        for start in range(0, len(windows), AT_ONCE):
            self._waiting.put(connections, _some(windows, slice(start, start + AT_ONCE)), until)
            # Those that came to nothing are told of once.
            connections = replace(connections, failed=np.zeros_like(connections.failed))

    def _listen(self, hear: Callable[[], list[ToWorker]]) -> None:
        now = time.monotonic()
        if now - self._heard >= TELL_EVERY / 2:
            self._heard = now
            self._look()
        for said in hear():
            match said:
                case Load(bundle):
                    # It takes a second or so, in which packets must be taken.
                    threading.Thread(target=self._load_beside, args=(bundle,), daemon=True).start()
                case Use(forget):
                    if not forget and self._next:
                        self._classifier = self._next
                    self._next = None
                case Stop(seconds):
                    self._until = now + seconds

    def _load_beside(self, bundle: Bundle) -> None:
        try:
            self._next = _classifier(bundle)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old one goes on
            self._loaded.append(Loaded(str(error)))
        else:
            self._loaded.append(Loaded(""))

    def _look(self) -> None:
        """How it is, as far as the thread of packets knows."""
        live = self._live
        packets, drops = self._packets.statistics()
        counts = dict(live.counts)
        taken = counts.pop("packets", 0)
        self._state = State(
            problem=self._packets.trouble,
            packets=packets,
            drops=drops,
            taken=taken,
            left_out=counts,
            kinds={cause: dict(kinds) for cause, kinds in live.kinds.items()},
            seen=live.seen,
            open=live.open,
            evicted=live.evicted,
        )

    # What the model's thread does.

    def _of_the_model(self) -> None:
        try:
            self._run_windows()
        except Exception as error:  # noqa: BLE001 - without this thread the process is of no use
            self._tell(Refused(f"{type(error).__name__}: {error}"))
            os._exit(1)

    def _run_windows(self) -> None:
        with suppress(OSError, AttributeError):  # for this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        said: State | None = None
        while (batches := self._waiting.take(AT_ONCE, LINGER, TELL_EVERY / 4)) is not None:
            if batches:
                self._run(batches)
            while self._loaded:
                self._tell(self._loaded.pop(0))
            now = time.monotonic()
            # The same as before: the thread of packets does not get on, and the parent should notice.
            if now - self._told >= TELL_EVERY and self._state is not said:
                self._told, said = now, self._state
                self._tell(self._full(said))
        self._tell(self._full(self._state, over=True))

    def _full(self, state: State, over: bool = False) -> State:
        """With what the thread of the model knows."""
        waiting, drift = self._waiting, self._classifier.drift
        state.windows = Counter(waiting.counts)
        state.windows["in_hand"] = waiting.to_run
        state.failed, state.over = self._failed, over
        state.drift = drift.now() if drift else None
        return state

    def _run(self, batches: list[Batch]) -> None:
        """Tell of the windows of these batches all that there is to tell."""
        kept, classifier = [], self._classifier
        for batch in batches:
            if found := tries(batch.connections, _some(batch.windows, batch.short)):
                self._tell(Without(found))
            for status, rows in (("too_short", batch.short), ("shed", batch.shed)):
                if len(rows):
                    self._tell(_told(status, batch, rows, _abouts(batch, rows)))
            if len(batch.run):
                kept.append(batch)
        if not kept:
            return
        begun = time.monotonic()
        series = SeriesBatch.concatenate([batch.windows.series[batch.run] for batch in kept])
        verdicts: Verdicts | None
        try:
            verdicts = classifier.classify(series)
        except Exception as error:  # noqa: BLE001 - whatever the network raises, the windows get a row
            verdicts, self._failed = None, f"{type(error).__name__}: {error}"[:300]
        done, start = time.monotonic(), 0
        for batch in kept:
            end = start + len(batch.run)
            connections = _abouts(batch, batch.run)
            told = _told("timeout" if verdicts is None else "ok", batch, batch.run, connections)
            if verdicts is not None:
                told.model, told.verdicts = classifier.model, verdicts[start:end]
                told.flows = flows(batch.windows, batch.run, connections, told.verdicts)
                told.arrived, told.begun, told.done = [batch.found], begun, done
            self._tell(told)
            start = end
        self._waiting.done(end)


def _abouts(batch: Batch, rows: np.ndarray) -> list[About]:
    used, index = np.unique(batch.windows.connection[rows], return_inverse=True)
    of = about(batch.connections, used)
    return [of[place] for place in index.tolist()]


def _told(status: str, batch: Batch, rows: np.ndarray, connections: list[About]) -> Told:
    windows = batch.windows
    packets, ts = windows.series.lengths[rows], windows.ts[rows]
    # A row's last packet is the latest.
    last = ts + windows.series.times[rows, np.clip(packets - 1, 0, MAX_PAYLOAD_PACKETS - 1)]
    return Told(status, connections, ts.tolist(), windows.window[rows].tolist(), packets.tolist(), last.tolist())


def _some(windows: Windows, rows: np.ndarray | slice) -> Windows:
    return Windows(windows.connection[rows], windows.window[rows], windows.ts[rows], windows.series[rows])


def main(task: Task, opened: Opened, pipe: Connection) -> None:
    """The process, which takes its packets from what was opened with privileges that are gone. It ends when whoever it
    tells what it finds is gone."""
    one = threading.Lock()

    def tell(message: FromWorker) -> None:
        try:
            with one:
                pipe.send(message)
        except OSError:
            os._exit(1)  # nobody is there any more

    try:
        _work(task, opened, pipe, tell)
    except EOFError:
        os._exit(1)
    except SniffError as error:
        tell(Refused(str(error)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has a log to say it in
        tell(Refused(f"{type(error).__name__}: {error}"))


def _work(task: Task, opened: Opened, pipe: Connection, tell: Callable[[FromWorker], None]) -> None:
    config = task.config
    classifier = _classifier(task.bundle)
    # After what takes long: packets come from now on.
    ring = Ring(task.interface, filter=config.filter, fanout=task.fanout, opened=opened)
    live = LiveCapture(config.checksums, task.connections)
    worker = Worker(config, ring, live, classifier, tell, lambda: time.time_ns() // 1000)
    tell(Ready(ring.warnings))
    poll = select.poll()
    poll.register(pipe, select.POLLIN)

    def hear() -> list[ToWorker]:
        heard: list[ToWorker] = []
        while poll.poll(0):
            heard.append(pipe.recv())
        return heard

    worker.run(hear)


def _classifier(bundle: Bundle) -> Classifier:
    # One thread inside the network, and as many workers as there are cores for: better than the reverse.
    return Classifier(bundle, threads=1)
