"""Where all that workers tell comes together: evidence over connections, counts, rows. A thread of its own, so that
neither a full pipe nor a slow disk keeps the service from being asked and told.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from ..agent.kept import Kept
from ..agent.tally import Tally
from ..classify.row import IncidentRow, Row
from ..classify.rows import answers
from ..incidents import Incident, IncidentModel, Settings
from .messages import FromWorker, Told, Without
from .output import Output

#: Seconds from one look at what is due of the evidence to the next.
JUDGE_EVERY = 1.0


class Evidence(Kept):
    """What connections of all workers put together are evidence of. Time goes on by the clock."""

    def __init__(self, model: IncidentModel | None, settings: Settings) -> None:
        super().__init__(model, settings, by_clock=True)

    def windows(self, told: Told) -> list[str]:
        """Take in windows with a verdict: for each the incident that it belongs to, or ""."""
        if self._tracker is None or told.flows is None:
            return [""] * len(told)
        return self._tracker.flows(told.flows)

    def without(self, said: Without) -> None:
        """Take in connections without a verdict."""
        self._counts["tries"] += sum(each.failed + each.short for each in said.tries)
        if self._tracker is not None:
            self._tracker.tries(said.tries)

    def found(self, now: int | None) -> list[Incident]:
        """What has been found by ``now``, in µs since 1970; without, all that is left, as there will be no more."""
        if self._tracker is None:
            return []
        return self._tracker.end() if now is None else self._tracker.advance(now)


class Desk:
    """
    Args:
        evidence: used by the desk's thread alone, but for its counts; and by :meth:`use`.
        tally: takes what the model says.
        output: takes the rows; the desk closes it in the end.
        hear: called in the desk's thread with a worker's number and what else it tells; None when its pipe has ended.
        fail: called there with what has ended the desk before its time.
        seed: of the community IDs that rows are to have; None for none.
    """

    def __init__(
        self,
        evidence: Evidence,
        tally: Tally,
        output: Output,
        hear: Callable[[int, FromWorker | None], None],
        fail: Callable[[Exception], None],
        seed: int | None,
    ) -> None:
        self._evidence, self._tally, self._output, self._hear, self._fail = evidence, tally, output, hear, fail
        self._seed = seed
        self._pipes: dict[Connection, tuple[int, str]] = {}
        self._woken, self._wake = Pipe(duplex=False)
        self._orders: list[Callable[[], None]] = []
        self._over = False
        self._judged = time.monotonic()
        #: Windows by the status of their rows.
        self.statuses: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work, name="mmtt-desk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, number: int, interface: str, pipe: Connection) -> None:
        """Listen to a worker, too."""
        self._order(lambda: self._pipes.update({pipe: (number, interface)}))

    def reopen(self) -> None:
        """Logs may have been rotated away."""
        self._order(self._output.reopen)

    def use(self, model: IncidentModel | None, settings: Settings, say: Callable[[bool], Any]) -> None:
        """Judge evidence by that from now on; ``say`` is told whether it begins anew."""
        self._order(lambda: say(self._evidence.use(model, settings)))

    def end(self) -> None:
        """Once no worker is left, find what is left to be found, and close the output."""

        def end() -> None:
            self._over = True

        self._order(end)

    def join(self, seconds: float) -> bool:
        """Whether it has come to its end within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def silent_for(self) -> float:
        """Seconds since it has last looked at what is to be done."""
        return time.monotonic() - self._judged

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake.send(None)

    def _work(self) -> None:
        try:
            self._listen_to_all()
        except Exception as error:  # noqa: BLE001 - without the desk there is nothing to go on for
            self._fail(error)

    def _listen_to_all(self) -> None:
        while not (self._over and not self._pipes):
            for pipe in wait([self._woken, *self._pipes], JUDGE_EVERY / 2):
                if pipe is self._woken:
                    self._woken.recv()
                    self._orders.pop(0)()
                elif isinstance(pipe, Connection):
                    self._listen(pipe)
            if time.monotonic() - self._judged >= JUDGE_EVERY:
                self._judged = time.monotonic()
                self._incidents(time.time_ns() // 1000)
            self._output.flush()
        self._incidents(None)
        self._output.close()

    def _listen(self, pipe: Connection) -> None:
        number, interface = self._pipes[pipe]
        message: FromWorker | None
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            message = None
            del self._pipes[pipe]
            pipe.close()
        if isinstance(message, Told):
            self._rows(message, interface)
        elif isinstance(message, Without):
            self._evidence.without(message)
        else:
            self._hear(number, message)

    def _rows(self, told: Told, interface: str) -> None:
        incidents = self._evidence.windows(told)
        now = time.time()
        if told.verdicts is not None:
            said = answers(told.verdicts, incidents)
            self._tally.job(told, told.verdicts, told.begun, told.done, now)
        else:
            said = iter([(*[None] * 7, None)] * len(told))
        self.statuses[told.status] += len(told)
        columns = (told.ts, told.connections, told.window, told.packets, told.last, said)
        for ts, connection, window, packets, last, (*answer, incident) in zip(*columns, strict=True):
            latency = max(0.0, round(now - last / 1e6, 6))
            community_id = None if self._seed is None else connection.community_id(self._seed)
            rest = *answer, told.status, latency, told.model, incident, "", community_id
            self._output.write(Row._make((ts, *connection, window, packets, *rest)), interface)

    def _incidents(self, now: int | None) -> None:
        for each in self._evidence.found(now):
            self._output.write(IncidentRow.of(each, ""), None)
