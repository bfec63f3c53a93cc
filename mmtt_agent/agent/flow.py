"""What one connection to Zeek knows and decides: states, credit, queues, answers. No sockets, threads or clocks.

Whoever does the I/O calls :meth:`Session.receive` with each message, runs the jobs that :meth:`Session.take` gives
and hands their verdicts to :meth:`Session.finish`, calls :meth:`Session.tick` each second, and sends what
:meth:`Session.next_message` gives. Nothing here raises because of what Zeek sends.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field

from ..classifier import Verdicts
from ..series import SeriesBatch
from . import wire

#: Seconds (calls of ``tick``) from one hello to the next.
HELLO_EVERY = 5
#: Answers waiting to be sent past which no more messages should be read.
MAX_OUTGOING = 256


class State(enum.Enum):
    SUBSCRIBING = "subscriptions sent, Zeek has not acknowledged them"
    SERVING = "taking batches"
    DRAINING = "no new batches; answering what is in hand"
    CLOSED = "everything answered and said goodbye"


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the log."""

    level: str  # "info", "warning" or "error"
    text: str


class _Control(enum.Enum):
    """Messages made when they are sent, and waiting at most once each."""

    TICK = enum.auto()
    HELLO = enum.auto()


@dataclass
class Job:
    """Wire batches that the classifier runs as one; ``series`` holds their windows one after the other."""

    series: SeriesBatch
    parts: list[_Part] = field(repr=False)


@dataclass(slots=True)
class _Part:
    """A wire batch in hand: the rows of its series to run, and the places that are shed."""

    batch: wire.Classify
    rows: int
    shed: range


class Session:
    """One connection, from its first message to its last.

    Args:
        agent: this agent's name; its topic is ``mmtt/agent/<agent>``.
        model: the model column of the log.
        credit: flows one node may have unanswered here; what is beyond is answered "shed".
        max_queued: flows of all nodes together that may be unanswered; what is beyond is answered "shed".
        max_job: windows of one job at most (a wire batch is never split).
        alone: give each wire batch a job of its own.
    """

    def __init__(
        self, *, agent: str, model: str, credit: int, max_queued: int, max_job: int = 256, alone: bool = False
    ) -> None:
        self.topic = f"mmtt/agent/{agent}"
        self.state = State.SUBSCRIBING
        #: Flows and messages so far, by what became of them.
        self.counts: Counter[str] = Counter()
        self.notes: deque[Note] = deque()
        self._agent, self._model = agent, model
        self._credit, self._max_queued = credit, max_queued
        self._max_job, self._alone = max_job, alone
        self._waiting: deque[_Part] = deque()
        self._in_hand: dict[tuple[str, int], int] = {}
        self._in_flight: Counter[str] = Counter()
        self._total = 0
        # Control messages overtake answers, so that Zeek's clock goes on while much is to be sent.
        self._control: deque[str | _Control] = deque([wire.encode_subscriptions([self.topic, wire.AGENTS_TOPIC])])
        self._answers: deque[str] = deque()
        self._tick_waiting = self._hello_waiting = False
        self._bye_waiting = self._lost = False
        self._ticks = 0
        self._said: Counter[str] = Counter()

    # What comes in.

    def receive(self, message: str | bytes) -> None:
        """Take a message from Zeek. Whatever it holds, this notes and counts; it does not raise."""
        self.counts["messages"] += 1
        try:
            event = wire.decode(message)
        except wire.UnknownProtocol as error:
            self.counts["messages of another protocol"] += 1
            self._note_once("error", str(error))
            return
        except wire.WireError as error:
            self.counts["messages refused"] += 1
            self._note_once("warning", f"Zeek's message is refused: {error}", key="refused")
            return
        if isinstance(event, wire.Ack):
            self._acknowledged(event)
        elif isinstance(event, wire.Refused):
            self.counts["messages Zeek refused"] += 1
            if self.state is State.SUBSCRIBING:
                self._note_once("error", f"Zeek refuses the connection: {event.code}: {event.context}"[:300])
            else:
                self._note_once(
                    "error",
                    f"Zeek refuses a message: {event.code}: {event.context}"[:300] + "; is the mmtt package loaded there?",
                )
        elif self.state is State.SUBSCRIBING:
            self.counts["messages refused"] += 1
            self._note_once("warning", "Zeek's message is refused: it came before the acknowledgement", key="early")
        elif isinstance(event, wire.HelloRequest):
            self._hello()
        elif isinstance(event, wire.Classify):
            # Zeek matches topics by prefix: an agent "a" also gets what is for "ab".
            if event.topic == self.topic:
                self._classify(event)
            else:
                self.counts["messages for others"] += 1
        else:
            self.counts["messages for others"] += 1

    def _acknowledged(self, ack: wire.Ack) -> None:
        if self.state is not State.SUBSCRIBING:
            self.counts["messages refused"] += 1
            self._note_once("warning", "Zeek's message is refused: a second acknowledgement", key="ack")
            return
        self.state = State.SERVING
        self._note("info", f"connected to Zeek {ack.version[:40]} ({ack.endpoint[:80]})")
        self._hello()

    def _classify(self, batch: wire.Classify) -> None:
        flows = len(batch)
        key = (batch.reply_topic, batch.batch_id)
        if key in self._in_hand:
            self.counts["batches sent again while in hand"] += 1
            return
        self.counts["batches"] += 1
        self.counts["flows"] += flows
        room = 0
        if self.state is State.SERVING:
            room = min(self._credit - self._in_flight[batch.reply_topic], self._max_queued - self._total)
        room = max(0, min(room, flows))
        if batch.problems:
            place, problem = min(batch.problems.items())
            self._note_once("warning", f"flow {place} of a batch is answered as an error: {problem}", key="flow")
        if room < flows and self.state is State.SERVING:
            self._note_once(
                "warning",
                f"{batch.reply_topic} sends more than its credit of {self._credit} flows, or the queue of "
                f"{self._max_queued} is full; the excess is shed",
                key="shed",
            )
        shed = range(room, flows)
        rows = room - sum(place < room for place in batch.problems)
        part = _Part(batch, rows, shed)
        if rows == 0:
            self._answer(part, None)
            return
        self._in_hand[key] = room
        self._in_flight[batch.reply_topic] += room
        self._total += room
        self._waiting.append(part)

    # What is to be computed.

    @property
    def in_hand(self) -> int:
        """Flows taken and not answered."""
        return self._total

    @property
    def queued(self) -> int:
        """Wire batches that wait for a job."""
        return len(self._waiting)

    def take(self) -> Job | None:
        """The next windows to run, oldest first; None where nothing waits."""
        if not self._waiting:
            return None
        parts = [self._waiting.popleft()]
        rows = parts[0].rows
        while not self._alone and self._waiting and rows + self._waiting[0].rows <= self._max_job:
            parts.append(self._waiting.popleft())
            rows += parts[-1].rows
        series = [part.batch.series[: part.rows] for part in parts]
        return Job(series[0] if len(series) == 1 else SeriesBatch.concatenate(series), parts)

    def finish(self, job: Job, verdicts: Verdicts | None, problem: str = "") -> None:
        """Answer a job's batches; without verdicts every flow is answered "error", and ``problem`` is noted."""
        if self._lost:
            return
        if verdicts is None:
            self._note_once("error", f"the model failed on {len(job.series)} windows: {problem}", key="model")
        start = 0
        for part in job.parts:
            room = self._in_hand.pop((part.batch.reply_topic, part.batch.batch_id))
            self._total -= room
            self._in_flight[part.batch.reply_topic] -= room
            if not self._in_flight[part.batch.reply_topic]:
                del self._in_flight[part.batch.reply_topic]
            self._answer(part, None if verdicts is None else verdicts[start : start + part.rows])
            start += part.rows
        self._maybe_bye()

    def _answer(self, part: _Part, verdicts: Verdicts | None) -> None:
        answered = 0 if verdicts is None else len(verdicts)
        shed = sum(place not in part.batch.problems for place in part.shed)
        self.counts["flows answered ok"] += answered
        self.counts["flows answered shed"] += shed
        self.counts["flows answered error"] += len(part.batch) - answered - shed
        self._answers.append(wire.encode_verdicts(part.batch, verdicts, part.shed))

    # What goes out.

    def tick(self) -> None:
        """A second has passed."""
        self._ticks += 1
        if self.state in (State.SERVING, State.DRAINING) and not self._tick_waiting:
            self._tick_waiting = True
            self._control.append(_Control.TICK)
        if self.state is State.SERVING and self._ticks % HELLO_EVERY == 0:
            self._hello()
        if self._ticks % 60 == 0:
            self._repeat_notes()

    def drain(self) -> None:
        """Take no new batch, answer what is in hand, say goodbye."""
        if self.state is State.SERVING:
            self.state = State.DRAINING
            self._maybe_bye()
        elif self.state is State.SUBSCRIBING:
            self.state = State.CLOSED

    def next_message(self) -> str | None:
        """The next message to send; None where nothing is to be sent now."""
        if self._control:
            message = self._control.popleft()
            if message is _Control.TICK:
                self._tick_waiting = False
                return wire.encode_tick(self._agent)
            if message is _Control.HELLO:
                self._hello_waiting = False
                return wire.encode_hello(self._agent, self.topic, self._model, self._credit)
            return message
        if self._answers:
            return self._answers.popleft()
        if self._bye_waiting:
            self._bye_waiting = False
            return wire.encode_bye(self._agent)
        return None

    @property
    def has_messages(self) -> bool:
        return bool(self._control or self._answers or self._bye_waiting)

    @property
    def wants_messages(self) -> bool:
        """Whether to read on: not while Zeek leaves too many answers lying."""
        return len(self._answers) < MAX_OUTGOING

    @property
    def finished(self) -> bool:
        """Everything is answered, and sent as far as this session knows."""
        return self.state is State.CLOSED and not self.has_messages

    def lost(self) -> None:
        """The connection is gone. What was in hand is dropped, and counted: Zeek sends it again, or gives it up."""
        dropped = self._total
        if dropped:
            self.counts["flows lost with the connection"] += dropped
            self._note("warning", f"{dropped} flows were in hand and could not be answered")
        if self._answers:
            self.counts["answers lost with the connection"] += len(self._answers)
            self._note("warning", f"{len(self._answers)} answers could not be sent")
        self._repeat_notes()
        self.state = State.CLOSED
        self._lost = True
        self._waiting.clear()
        self._control.clear()
        self._answers.clear()
        self._bye_waiting = False

    def _maybe_bye(self) -> None:
        if self.state is State.DRAINING and not self._total:
            self.state = State.CLOSED
            self._bye_waiting = True

    def _hello(self) -> None:
        if self.state is State.SERVING and not self._hello_waiting:
            self._hello_waiting = True
            self._control.append(_Control.HELLO)

    # What goes to the log.

    def _note(self, level: str, text: str) -> None:
        self.notes.append(Note(level, text))

    def _note_once(self, level: str, text: str, key: str = "") -> None:
        """Note the first of its kind at once, and once a minute how many more there were."""
        key = key or text
        # A sender of ever new nonsense must not make this grow.
        if key not in self._said and len(self._said) >= 64:
            key = "other"
        self._said[key] += 1
        if self._said[key] == 1:
            self._note(level, text)

    def _repeat_notes(self) -> None:
        for key, times in self._said.items():
            if times > 1:
                self._note("warning", f"{times - 1} more in the last minute: {_KINDS.get(key, key)}")
                self._said[key] = 1


_KINDS = {
    "refused": "messages refused",
    "flow": "flows answered as errors",
    "shed": "batches shed in part or as a whole",
    "model": "failures of the model",
    "early": "messages before the acknowledgement",
    "ack": "second acknowledgements",
}
