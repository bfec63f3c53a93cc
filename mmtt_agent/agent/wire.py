"""The messages between Zeek's package and its agents. Records are positional, and their layout is frozen for
protocol version :data:`PROTOCOL`.

No sockets here: :func:`decode` turns a message into what it says or raises :class:`WireError`, whatever the bytes;
the ``encode_…`` functions return the text of a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..classifier import Verdicts
from ..series import SeriesBatch
from . import broker
from .broker import Ack, Refused, WireError, count, short, string, unwrap
from .flows import decode_flows

PROTOCOL = 2
#: Zeek's nodes listen here for agents.
SENSOR_TOPIC = "mmtt/sensor"
#: Agents listen here for Zeek's nodes.
AGENTS_TOPIC = "mmtt/agents"
#: Flows in one MMTT::classify at most.
MAX_FLOWS = 64

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

    ``series`` holds the windows of the flows that are what they should be, in order; ``problems`` says what is
    wrong with each of the others, by place in the batch. What can't be read of a uid or window number is "" or 0.
    """

    topic: str
    reply_topic: str
    batch_id: int
    uids: list[str]
    windows: list[int]
    series: SeriesBatch
    problems: dict[int, str]

    def __len__(self) -> int:
        return len(self.uids)


#: What Zeek may send.
Message: TypeAlias = "Ack | Refused | HelloRequest | Foreign | Classify"


def decode(message: str | bytes) -> Message:
    """What a message says.

    Raises:
        WireError: with one line that says what is wrong with the message. Flows that are wrong one by one do not
            raise: :class:`Classify` lists them.
    """
    event = broker.decode(message)
    if not isinstance(event, broker.Event):
        return event
    if event.name not in ("MMTT::classify", "MMTT::hello_request"):
        return Foreign(event.name)
    if not event.arguments:
        raise WireError(f"{event.name} has no protocol version")
    protocol = unwrap(event.arguments[0], "count", "protocol version")
    if protocol != PROTOCOL:
        raise UnknownProtocol(
            f"Zeek's package speaks protocol {protocol}, this agent speaks {PROTOCOL}; "
            "install matching versions of both"
        )
    return _decode_classify(event) if event.name == "MMTT::classify" else HelloRequest()


def _decode_classify(event: broker.Event) -> Classify:
    if len(event.arguments) != 4:
        raise WireError(f"MMTT::classify has {len(event.arguments)} arguments, not 4")
    _, reply_topic, batch_id, flows = event.arguments
    reply_topic = unwrap(reply_topic, "string", "reply topic")
    if not _NODE_TOPIC.match(reply_topic):
        raise WireError(f"reply topic {short(reply_topic)} is not mmtt/node/NAME")
    batch_id = unwrap(batch_id, "count", "batch id")
    flows = unwrap(flows, "vector", "flows")
    if len(flows) > MAX_FLOWS:
        raise WireError(f"batch of {len(flows)} flows; at most {MAX_FLOWS} are taken")
    flows = [unwrap(flow, "string", "flow") for flow in flows]
    return Classify(event.topic, reply_topic, batch_id, *decode_flows(flows))


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


def encode_verdicts(batch: Classify, verdicts: Verdicts | None, shed: range = range(0)) -> str:
    """The answer to a batch: one record per flow, in order.

    Args:
        verdicts: of the batch's good flows that are not shed, in order; None where they could not be had
            ("error" for every one).
        shed: places in the batch that were not looked at for want of credit.
    """
    answers = iter(()) if verdicts is None else _answers(verdicts)
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


def _answers(verdicts: Verdicts) -> Iterator[str]:
    """The fields of a record from status on, verdict by verdict."""
    columns = (
        verdicts.service_score,
        verdicts.application_score,
        verdicts.malicious,
        verdicts.malicious_score,
    )
    labels = verdicts.service, verdicts.application, verdicts.malicious_kind
    rows = zip(*labels, *(column.tolist() for column in columns), strict=True)
    for service, application, kind, service_score, application_score, malicious, malicious_score in rows:
        yield _answer("ok", service, service_score, application, application_score, malicious, malicious_score, kind)


def _answer(
    status: str,
    service: str,
    service_score: float,
    application: str,
    application_score: float,
    malicious: bool,
    malicious_score: float,
    malicious_kind: str,
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
        )
    )


_NO_VERDICT = {status: _answer(status, "", 0, "", 0, False, 0, "") for status in ("shed", "error")}
