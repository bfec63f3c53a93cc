"""What one connection to Zeek knows and decides: states, credit, queues, answers. No sockets, threads or clocks.

Whoever does the I/O calls :meth:`Session.receive` with each message, runs the jobs that :meth:`Session.take` gives
and hands their verdicts to :meth:`Session.finish`, calls :meth:`Session.tick` each second, and sends what
:meth:`Session.next_message` gives. Nothing here raises because of what Zeek sends.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from ..classifier import Verdicts
from ..record import Batch
from ..series import SeriesBatch
from . import wire
from .broker import Ack, Refused, WireError
from .evidence import Evidence

#: Windows of one job at most: more at once are no faster, and slower to answer.
MAX_JOB = 256
#: Seconds (calls of ``tick``) from one hello to the next.
HELLO_EVERY = 5
#: Answers waiting to be sent past which no more messages should be read.
MAX_OUTGOING = 256
#: Seconds that a capture's windows may take to be remembered in the end, less than Zeek waits for an agent.
FLUSH = 8.0
# Whoever can reach Zeek's socket can make up names of nodes.
_MAX_NODES = 1000


class State(enum.Enum):
    SUBSCRIBING = "subscriptions sent, Zeek has not acknowledged them"
    SERVING = "taking batches"
    DRAINING = "no new batches; answering what is in hand"
    CLOSED = "said goodbye, or lost"


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    level: str  # "info", "warning" or "error"
    text: str


class _Control(enum.Enum):
    """Messages made when they are sent, and waiting at most once each."""

    SUBSCRIPTIONS = enum.auto()
    HELLO = enum.auto()
    TICK = enum.auto()


@dataclass
class Job:
    """Wire batches that the classifier runs as one; ``series`` holds their windows one after the other."""

    series: SeriesBatch
    parts: list[_Part] = field(repr=False)

    @property
    def arrived(self) -> list[float]:
        """When each batch came in, by the clock of :meth:`Session.receive`."""
        return [part.arrived for part in self.parts]

    def flow(self, row: int) -> tuple[str, int]:
        """The uid and the window's number of a row of ``series``."""
        for part in self.parts:
            if row < part.rows:
                place = part.batch.places(part.rows)[row]
                return part.batch.uids[place], part.batch.windows[place]
            row -= part.rows
        raise IndexError(row)


@dataclass(slots=True)
class _Part:
    """A wire batch in hand. Its first ``taken`` flows have credit, the others are shed; of those taken, ``rows``
    are what they should be and are run."""

    batch: wire.Classify
    taken: int
    rows: int
    arrived: float
    #: It has been run: what came of that, and by which model.
    done: bool = False
    verdicts: Verdicts | None = None
    model: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.batch.reply_topic, self.batch.batch_id


class Memory(Protocol):
    """Takes windows that have got their verdicts, to remember them, and never waits: a recorder, or a test's."""

    def put(self, batch: Batch) -> None: ...

    def flush(self, timeout: float) -> None:
        """This waits until all that was put is written, but no longer than so many seconds."""


class Session:
    """One connection, from its first message to its last.

    Args:
        agent: this agent's name.
        model: the model column of the log, until :meth:`use_model` names another.
        credit: flows one node may have unanswered here; what is beyond is answered "shed".
        max_queued: flows of all nodes together that may be unanswered; what is beyond is answered "shed".
        max_job: windows of one job at most; a wire batch is never split, so 1 gives each batch a job of its own.
        evidence: takes what is to be found over connections; none without.
        in_order: answer batches in the order in which they came, whichever is done first: what is found over
            connections goes by the time of the flows before.
        memory: takes the windows that are answered; without, nothing is remembered.
    """

    def __init__(
        self,
        *,
        agent: str,
        model: str,
        credit: int,
        max_queued: int,
        max_job: int = MAX_JOB,
        evidence: Evidence | None = None,
        in_order: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self.state = State.SUBSCRIBING
        #: Flows and messages so far, by what became of them.
        self.counts: Counter[str] = Counter()
        self.notes: deque[Note] = deque()
        self._agent, self._model = agent, model
        self._credit, self._max_queued, self._max_job = credit, max_queued, max_job
        self._evidence = evidence or Evidence(None)
        self._evidence.connected()
        self._in_order = in_order
        self._memory = memory
        self._waiting: deque[_Part] = deque()
        self._in_hand: dict[tuple[str, int], _Part] = {}  # in the order in which they came
        self._in_flight: Counter[str] = Counter()  # flows, by node
        # Control messages overtake answers, so that Zeek's clock goes on while much is to be sent.
        self._control: deque[_Control] = deque([_Control.SUBSCRIPTIONS])
        # Each with the model that gave it, None where none did.
        self._answers: deque[tuple[str | None, str]] = deque()
        self._all_sent = ""  # the topic of a node that waits to hear that all is said
        self._told = model  # the model that Zeek takes verdicts to be of
        self._ticks = 0
        self._heard: dict[str, int] = {}  # the tick of each node's latest batch
        #: Zeek's version, from its acknowledgement.
        self.zeek = ""
        self._said: Counter[str] = Counter()

    # What comes in.

    def receive(self, message: str | bytes, now: float = 0.0) -> None:
        """Take a message from Zeek that came in at ``now``. Whatever it holds, it is noted and counted; nothing is
        raised."""
        self.counts["messages"] += 1
        try:
            event = wire.decode(message)
        except wire.UnknownProtocol as error:
            self.counts["messages of another protocol"] += 1
            self._note_often("error", str(error))
        except WireError as error:
            self._refuse(str(error))
        else:
            self._handle(event, now)

    def _handle(self, event: wire.Message, now: float) -> None:
        if isinstance(event, Refused):
            self.counts["messages Zeek refused"] += 1
            # Before the acknowledgement Zeek closes the connection too, and gives that reason.
            if self.state is not State.SUBSCRIBING:
                said = f"Zeek refuses a message: {event.code}: {event.context}"[:300]
                self._note_often("error", f"{said}; is the mmtt package loaded there?")
        elif isinstance(event, Ack) is not (self.state is State.SUBSCRIBING):
            self._refuse("it must be the acknowledgement, once and first")
        elif isinstance(event, Ack):
            self.state = State.SERVING
            self.zeek = event.version[:40]
            self._note("info", f"connected to Zeek {self.zeek} ({event.endpoint[:80]})")
            self._control_once(_Control.HELLO)
        elif isinstance(event, wire.HelloRequest) and self.state is State.SERVING:
            self._control_once(_Control.HELLO)
        # Zeek matches topics by prefix: an agent "a" also gets what is for "ab".
        elif isinstance(event, wire.Classify) and event.topic == wire.agent_topic(self._agent):
            self._classify(event, now)
        elif isinstance(event, wire.Tries) and event.topic == wire.agent_topic(self._agent):
            self.counts["connections without a verdict"] += sum(each.failed + each.short for each in event.tries)
            self._evidence.tries(event.reply_topic, event.tries)
        elif isinstance(event, wire.AllSent) and event.topic == wire.agent_topic(self._agent):
            self._evidence.end()
            # Zeek, once it has heard that all is said, ends its agent at once.
            if self._memory and self._in_order:
                self._memory.flush(FLUSH)
            self._all_sent = event.reply_topic
        else:
            self.counts["messages for others"] += 1

    def _refuse(self, problem: str) -> None:
        self.counts["messages refused"] += 1
        self._note_often("warning", f"Zeek's message is refused: {problem}", kind="messages refused")

    def _classify(self, batch: wire.Classify, now: float) -> None:
        flows, node = len(batch), batch.reply_topic
        if (node, batch.batch_id) in self._in_hand:
            self.counts["batches sent again while in hand"] += 1
            return
        self.counts["batches"] += 1
        self.counts["flows"] += flows
        if node in self._heard or len(self._heard) < _MAX_NODES:
            self._heard[node] = self._ticks
        if batch.problems:
            place, problem = min(batch.problems.items())
            self._note_often(
                "warning",
                f"flow {place} of a batch is answered as an error: {problem}",
                kind="batches with wrong flows",
            )
        taken = 0
        if self.state is State.SERVING:
            taken = max(0, min(flows, self._credit - self._in_flight[node], self._max_queued - self.in_hand))
            if taken < flows:
                self._note_often(
                    "warning",
                    f"{node} sends more than its credit of {self._credit} flows, or the queue of {self._max_queued} "
                    "is full; the excess is shed",
                    kind="batches shed in part or as a whole",
                )
        part = _Part(batch, taken, taken - sum(place < taken for place in batch.problems), now)
        if part.rows == 0:
            self._answer(part, None)
            return
        self._in_hand[part.key] = part
        self._in_flight[node] += taken
        self._waiting.append(part)

    # What is to be computed.

    @property
    def in_hand(self) -> int:
        """Flows taken and not answered."""
        return self._in_flight.total()

    @property
    def queued(self) -> int:
        """Flows of those that no job has taken yet."""
        return sum(part.rows for part in self._waiting)

    @property
    def nodes(self) -> int:
        """Nodes that have sent a batch in the last minute."""
        return len(self._heard)

    @property
    def has_jobs(self) -> bool:
        return bool(self._waiting)

    def take(self) -> Job | None:
        """The next windows to run, oldest first; None where nothing waits."""
        if not self._waiting:
            return None
        parts = [self._waiting.popleft()]
        rows = parts[0].rows
        while self._waiting and rows + self._waiting[0].rows <= self._max_job:
            parts.append(self._waiting.popleft())
            rows += parts[-1].rows
        return Job(SeriesBatch.concatenate([part.batch.series[: part.rows] for part in parts]), parts)

    def finish(self, job: Job, verdicts: Verdicts | None, problem: str = "", *, model: str | None = None) -> None:
        """Answer a job's batches; without verdicts every flow is answered "error", and ``problem`` is noted.

        Args:
            model: which gave the verdicts; without, the latest.
        """
        if verdicts is None:
            text = f"the model failed on {len(job.series)} windows: {problem}"
            self._note_often("error", text, kind="failures of the model")
        start = 0
        for part in job.parts:
            end = start + part.rows
            part.done, part.model = True, model
            part.verdicts = None if verdicts is None else verdicts[start:end]
            start = end
            if not self._in_order:
                self._settle(part)
        while self._in_order and self._in_hand and (first := next(iter(self._in_hand.values()))).done:
            self._settle(first)
        self._in_flight += Counter()  # forget nodes with nothing in flight

    def _settle(self, part: _Part) -> None:
        # The connection may have been lost meanwhile, and the batch with it.
        if self._in_hand.get(part.key) is part:
            del self._in_hand[part.key]
            self._in_flight[part.batch.reply_topic] -= part.taken
            self._answer(part, part.verdicts, part.model)

    def _answer(self, part: _Part, verdicts: Verdicts | None, model: str | None = None) -> None:
        flows = len(part.batch)
        shed = range(part.taken, flows)
        count_ok = 0 if verdicts is None else len(verdicts)
        count_shed = sum(place not in part.batch.problems for place in shed)
        self.counts["flows answered ok"] += count_ok
        self.counts["flows answered shed"] += count_shed
        self.counts["flows answered error"] += flows - count_ok - count_shed
        by = None if verdicts is None else model or self._model
        incidents = None if verdicts is None else self._evidence.flows(part.batch, verdicts)
        self._answers.append((by, wire.encode_verdicts(part.batch, verdicts, shed, incidents)))
        if self._memory and verdicts is not None and incidents is not None and by is not None:
            self._memory.put(_remembered(part.batch, verdicts, incidents, by))

    # What goes out.

    def tick(self) -> None:
        """A second has passed."""
        self._ticks += 1
        if self.state in (State.SERVING, State.DRAINING):
            self._control_once(_Control.TICK)
        if self.state is State.SERVING and self._ticks % HELLO_EVERY == 0:
            self._control_once(_Control.HELLO)
        self._heard = {node: tick for node, tick in self._heard.items() if self._ticks - tick < 60}
        if self._ticks % 60 == 0:
            self._repeat_notes()

    def use_model(self, model: str) -> None:
        """Another model runs from now on; Zeek is told."""
        self._model = model
        if self.state is State.SERVING:
            self._control_once(_Control.HELLO)

    def drain(self) -> None:
        """Take no new batch, answer what is in hand, say goodbye."""
        if self.state is State.SERVING:
            self.state = State.DRAINING
        elif self.state is State.SUBSCRIBING:
            self.state = State.CLOSED

    @property
    def has_messages(self) -> bool:
        """Whether ``next_message`` has one."""
        return bool(self._control or self._answers or self._all_sent) or self._may_say_bye or self._has_incidents

    def next_message(self) -> str | None:
        """The next message to send; None where nothing is to be sent now. The last one is the goodbye."""
        if self._control:
            control = self._control.popleft()
            if control is _Control.SUBSCRIPTIONS:
                return wire.encode_subscriptions(self._agent)
            if control is _Control.HELLO:
                return self._hello(self._model)
            return wire.encode_tick(self._agent)
        if self._answers:
            model, answer = self._answers[0]
            # A verdict is of the model in the hello before it; those of two models may come in any order.
            if model not in (None, self._told):
                return self._hello(model)
            self._answers.popleft()
            return answer
        # After the answers that they were found with.
        if self._has_incidents and (found := self._evidence.take()):
            return wire.encode_incidents(*found)
        if self._all_sent:
            topic, self._all_sent = self._all_sent, ""
            return wire.encode_finished(topic)
        if self._may_say_bye:
            self.state = State.CLOSED
            return wire.encode_bye(self._agent)
        return None

    @property
    def _has_incidents(self) -> bool:
        return self.state in (State.SERVING, State.DRAINING) and self._evidence.has_incidents

    @property
    def wants_messages(self) -> bool:
        """Whether to read on: not while Zeek leaves too many answers lying."""
        return len(self._answers) < MAX_OUTGOING

    def lost(self) -> None:
        """The connection is gone. What was in hand is dropped, and counted: Zeek sends it again, or gives it up."""
        if self.in_hand:
            self.counts["flows lost with the connection"] += self.in_hand
            self._note("warning", f"{self.in_hand} flows were in hand and could not be answered")
        if self._answers:
            self.counts["answers lost with the connection"] += len(self._answers)
            self._note("warning", f"{len(self._answers)} answers could not be sent")
        self._repeat_notes()
        self.state = State.CLOSED
        for queue in (self._waiting, self._in_hand, self._in_flight, self._control, self._answers):
            queue.clear()

    @property
    def _may_say_bye(self) -> bool:
        return self.state is State.DRAINING and not self._in_hand

    def _hello(self, model: str) -> str:
        self._told = model
        return wire.encode_hello(self._agent, model, self._credit)

    def _control_once(self, control: _Control) -> None:
        if control not in self._control:
            self._control.append(control)

    # What goes to the log.

    def _note(self, level: str, text: str) -> None:
        self.notes.append(Note(level, text))

    def _note_often(self, level: str, text: str, kind: str = "") -> None:
        """Note the first of its kind at once, and once a minute how many more there were."""
        kind = kind or text
        # A sender of ever new nonsense must not make this grow.
        if kind not in self._said and len(self._said) >= 64:
            kind = "other problems"
        self._said[kind] += 1
        if self._said[kind] == 1:
            self._note(level, text)

    def _repeat_notes(self) -> None:
        for kind, times in self._said.items():
            if times > 1:
                self._note("warning", f"{times - 1} more: {kind}")
                self._said[kind] = 1


def _remembered(batch: wire.Classify, verdicts: Verdicts, incidents: list[str], model: str) -> Batch:
    """The first good flows of a batch, as many as there are verdicts."""
    n = len(verdicts)
    places = batch.places(n)
    return Batch(
        uid=[batch.uids[place] for place in places],
        window=[batch.windows[place] for place in places],
        ts=batch.good.ts[:n],
        series=batch.series[:n],
        verdicts=verdicts,
        incidents=incidents,
        model=model,
    )
