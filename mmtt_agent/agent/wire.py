"""The messages between Zeek's package and its agents. Records are positional, and their layout is frozen for
protocol version :data:`PROTOCOL`.

No sockets here: :func:`decode` turns a message into what it says or raises :class:`WireError`, whatever the bytes;
the ``encode_…`` functions return the text of a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..classifier import Verdicts
from ..incidents import Incident, Try
from ..series import SeriesBatch
from . import broker
from .broker import Ack, Refused, WireError, count, short, string, unwrap
from .flows import Windows, decode_flows, decode_tries

PROTOCOL = 3
#: Zeek's nodes listen here for agents.
SENSOR_TOPIC = "mmtt/sensor"
#: Agents listen here for Zeek's nodes.
AGENTS_TOPIC = "mmtt/agents"
#: Flows in one MMTT::classify at most, and lines in one MMTT::tries.
MAX_FLOWS = 64
#: Incidents in one MMTT::incidents at most.
MAX_INCIDENTS = 64

_NODE_TOPIC = re.compile(r"mmtt/node/[!-~]{1,240}\Z")


class UnknownProtocol(WireError):
    """A message of ours, in a protocol version that is not ours."""


@dataclass(frozen=True)
class HelloRequest:
    """A node that has just come up asks agents to say hello."""


@dataclass(frozen=True)
class Foreign:
    """An event that is none of ours: another package's, on a topic that begins like ours."""

    name: str


@dataclass(frozen=True)
class Classify:
    """A batch of windows to give verdicts on.

    ``good`` holds the flows that are what they should be, in order; ``problems`` says what is wrong with each of the
    others, by place in the batch. What can't be read of a uid or window number is "" or 0.
    """

    topic: str
    reply_topic: str
    batch_id: int
    uids: list[str]
    windows: list[int]
    good: Windows
    problems: dict[int, str]

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def series(self) -> SeriesBatch:
        """The windows of the good flows."""
        return self.good.series

    def places(self, rows: int) -> list[int]:
        """Where in the batch the first ``rows`` good flows are."""
        if not self.problems:
            return [*range(rows)]
        return [place for place in range(len(self)) if place not in self.problems][:rows]


@dataclass(frozen=True)
class Tries:
    """Connections that have no verdict."""

    topic: str
    reply_topic: str
    tries: list[Try]


@dataclass(frozen=True)
class AllSent:
    """A capture is at its end, and all of its windows have their verdicts."""

    topic: str
    reply_topic: str


#: What Zeek may send.
Message: TypeAlias = "Ack | Refused | HelloRequest | Foreign | Classify | Tries | AllSent"


def decode(message: str | bytes) -> Message:
    """What a message says.

    Raises:
        WireError: with one line that says what is wrong with the message. Flows that are wrong one by one do not
            raise: :class:`Classify` lists them.
    """
    event = broker.decode(message)
    if not isinstance(event, broker.Event):
        return event
    if event.name not in _DECODE:
        return Foreign(event.name)
    if not event.arguments:
        raise WireError(f"{event.name} has no protocol version")
    protocol = unwrap(event.arguments[0], "count", "protocol version")
    if protocol != PROTOCOL:
        raise UnknownProtocol(
            f"Zeek's package speaks protocol {protocol}, this agent speaks {PROTOCOL}; "
            "install matching versions of both"
        )
    return _DECODE[event.name](event)


def _hello_request(_: broker.Event) -> HelloRequest:
    return HelloRequest()


def _classify(event: broker.Event) -> Classify:
    reply_topic, batch_id, flows = _arguments(event, 3)
    reply_topic = _node_topic(reply_topic)
    batch_id = unwrap(batch_id, "count", "batch id")
    texts = _strings(flows, "flow", "batch of {} flows")
    return Classify(event.topic, reply_topic, batch_id, *decode_flows(texts))


def _tries(event: broker.Event) -> Tries:
    reply_topic, tries = _arguments(event, 2)
    reply_topic = _node_topic(reply_topic)
    return Tries(event.topic, reply_topic, decode_tries(_strings(tries, "try", "message of {} tries")))


def _all_sent(event: broker.Event) -> AllSent:
    (reply_topic,) = _arguments(event, 1)
    return AllSent(event.topic, _node_topic(reply_topic))


_DECODE: dict[str, Callable[[broker.Event], Message]] = {
    "MMTT::hello_request": _hello_request,
    "MMTT::classify": _classify,
    "MMTT::tries": _tries,
    "MMTT::all_sent": _all_sent,
}


def _arguments(event: broker.Event, number: int) -> list[Any]:
    """What follows the protocol version."""
    if len(event.arguments) != number + 1:
        raise WireError(f"{event.name} has {len(event.arguments)} arguments, not {number + 1}")
    return event.arguments[1:]


def _node_topic(value: Any) -> str:
    topic: str = unwrap(value, "string", "reply topic")
    if not _NODE_TOPIC.match(topic):
        raise WireError(f"reply topic {short(topic)} is not mmtt/node/NAME")
    return topic


def _strings(value: Any, what: str, many: str) -> list[str]:
    """The texts of a vector; ``many`` says how many there are where these are too many."""
    values = unwrap(value, "vector", f"{what}s")
    if len(values) > MAX_FLOWS:
        raise WireError(f"{many.format(len(values))}; at most {MAX_FLOWS} are taken")
    return [unwrap(each, "string", what) for each in values]


def agent_topic(agent: str) -> str:
    """Where Zeek's nodes send batches for an agent."""
    return f"mmtt/agent/{agent}"


def encode_subscriptions(agent: str) -> str:
    """The first message of a connection."""
    return broker.encode_subscriptions([agent_topic(agent), AGENTS_TOPIC])


def encode_hello(agent: str, model: str, credit: int) -> str:
    arguments = string(agent), string(agent_topic(agent)), string(model), count(credit)
    return _event(SENSOR_TOPIC, "MMTT::agent_hello", *arguments)


def encode_tick(agent: str) -> str:
    return _event(SENSOR_TOPIC, "MMTT::tick", string(agent))


def encode_bye(agent: str) -> str:
    return _event(SENSOR_TOPIC, "MMTT::agent_bye", string(agent))


def encode_finished(topic: str) -> str:
    """All that was found over a capture's connections has been said."""
    return _event(topic, "MMTT::finished")


def encode_incidents(topic: str, incidents: Sequence[Incident]) -> str:
    """Incidents, to the node that writes them."""
    return _event(topic, "MMTT::incidents", broker.vector(map(_finding, incidents)))


def _finding(found: Incident) -> str:
    return broker.vector(
        (
            broker.seconds(found.ts),
            string(found.id),
            string(found.state),
            string(found.unit),
            string(found.orig or ""),
            string(found.resp or ""),
            string(found.resp_p or ""),
            string(found.kind),
            broker.real(found.score),
            count(found.connections),
            broker.seconds(found.first),
            broker.seconds(found.last),
            count(found.orig_bytes),
            count(found.resp_bytes),
            string(found.reason),
            broker.vector(map(string, found.uids)),
        )
    )


def encode_verdicts(
    batch: Classify, verdicts: Verdicts | None, shed: range = range(0), incidents: Sequence[str] | None = None
) -> str:
    """The answer to a batch: one record per flow, in order.

    Args:
        verdicts: of the batch's good flows that are not shed, in order; None where they could not be had
            ("error" for every one).
        shed: places in the batch that were not looked at for want of credit.
        incidents: for each of the verdicts the incident that its flow belongs to, or ""; without, none does.
    """
    answers = iter(()) if verdicts is None else _answers(verdicts, incidents or [""] * len(verdicts))
    records = []
    for place, (uid, window) in enumerate(zip(batch.uids, batch.windows, strict=True)):
        if place in batch.problems:
            answer = _NO_VERDICT["error"]
        elif place in shed:
            answer = _NO_VERDICT["shed"]
        else:
            answer = next(answers, _NO_VERDICT["error"])
        records.append(broker.vector((string(uid), count(window), answer)))
    return _event(batch.reply_topic, "MMTT::verdicts", count(batch.batch_id), broker.vector(records))


def _event(topic: str, name: str, *arguments: str) -> str:
    return broker.encode_event(topic, name, count(PROTOCOL), *arguments)


def _answers(verdicts: Verdicts, incidents: Sequence[str]) -> Iterator[str]:
    """The fields of a record from status on, verdict by verdict."""
    columns = (
        verdicts.service_score,
        verdicts.application_score,
        verdicts.malicious,
        verdicts.malicious_score,
    )
    labels = verdicts.service, verdicts.application, verdicts.malicious_kind, incidents
    rows = zip(*labels, *(column.tolist() for column in columns), strict=True)
    for service, application, kind, incident, service_score, application_score, malicious, malicious_score in rows:
        yield _answer(
            "ok", service, service_score, application, application_score, malicious, malicious_score, kind, incident
        )


def _answer(
    status: str,
    service: str,
    service_score: float,
    application: str,
    application_score: float,
    malicious: bool,
    malicious_score: float,
    malicious_kind: str,
    incident: str,
) -> str:
    return ",".join(
        (
            string(status),
            string(service),
            broker.real(service_score),
            string(application),
            broker.real(application_score),
            broker.boolean(malicious),
            broker.real(malicious_score),
            string(malicious_kind),
            string(incident),
        )
    )


_NO_VERDICT = {status: _answer(status, "", 0, "", 0, False, 0, "", "") for status in ("shed", "error")}
