"""The wire format: messages of Zeek's WebSocket API (Broker's data model as JSON, v1) to and from events.

No sockets here. :func:`decode` turns a message into one event or raises :class:`WireError`, whatever the bytes;
the ``encode_…`` functions return the text of a message. Records are positional and their layout is frozen for
protocol version :data:`PROTOCOL`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain, pairwise
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np

from ..classifier import Verdicts
from ..series import MAX_PAYLOAD_PACKETS, MAX_SIZE, MAX_WAIT_US, MIN_PACKETS, WINDOW_STARTS, SeriesBatch

PROTOCOL = 1
#: Zeek's nodes listen here for agents.
SENSOR_TOPIC = "mmtt/sensor"
#: Agents listen here for Zeek's nodes.
AGENTS_TOPIC = "mmtt/agents"
#: Flows in one MMTT::classify at most.
MAX_FLOWS = 64
#: Longest message taken, in bytes; 64 flows of 32 packets are about 45,000.
MAX_MESSAGE = 1 << 20
#: Longest uid and topic taken, in characters.
MAX_UID, MAX_TOPIC = 64, 256

_NODE_TOPIC = re.compile(r"mmtt/node/[!-~]+\Z")
_FLOW_KEYS = {"uid", "window", "sizes", "times"}
_UINT64 = 1 << 64


class WireError(Exception):
    """A message that is not what it should be; the text is one line."""


class UnknownProtocol(WireError):
    """A message of ours, in a protocol version that is not ours."""


@dataclass(frozen=True)
class Ack:
    """Zeek has made our subscriptions; it takes events from now on."""

    endpoint: str
    version: str


@dataclass(frozen=True)
class Refused:
    """Zeek could not use a message of ours."""

    code: str
    context: str


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


Event = Ack | Refused | HelloRequest | Foreign | Classify


# Messages in.


def decode(message: str | bytes) -> Event:
    """The event in a message.

    Raises:
        WireError: with one line that says what is wrong with the message. Flows that are wrong one by one do not
            raise: :class:`Classify` lists them.
    """
    if len(message) > MAX_MESSAGE:
        raise WireError(f"message of {len(message)} bytes; at most {MAX_MESSAGE} are taken")
    if not isinstance(message, str):
        try:
            message = bytes(message).decode()
        except UnicodeDecodeError as error:
            raise WireError(f"message is not UTF-8 at byte {error.start}") from None
    content = _parse(message, "message")
    if type(content) is not dict:
        raise WireError(f"message is {_kind(content)}, not a JSON object")
    kind = content.get("type")
    if kind == "data-message":
        return _decode_data(content)
    if kind == "ack":
        return Ack(_text(content, "endpoint"), _text(content, "version"))
    if kind == "error":
        return Refused(_text(content, "code"), _text(content, "context"))
    raise WireError(f"message has type {_short(kind)}, not data-message, ack or error")


def _decode_data(content: dict) -> Event:
    topic = _text(content, "topic")
    outer = _vector(content, "message")
    if len(outer) < 3 or _value(outer[0], "count", "format") != 1 or _value(outer[1], "count", "message type") != 1:
        raise WireError("message is not an event of Broker's format 1")
    event = _vector(outer[2], "event")
    if len(event) < 2:
        raise WireError("event has no name and arguments")
    name = _value(event[0], "string", "event name")
    if not name.startswith("MMTT::"):
        return Foreign(name[:80])
    arguments = _vector(event[1], f"{name[:80]}'s arguments")
    if not arguments:
        raise WireError(f"{_short(name)} has no protocol version")
    protocol = _count(arguments[0], "protocol version")
    if protocol != PROTOCOL:
        raise UnknownProtocol(
            f"Zeek's package speaks protocol {protocol}, this agent speaks {PROTOCOL}; install matching versions of both"
        )
    if name == "MMTT::classify":
        return _decode_classify(topic, arguments)
    if name == "MMTT::hello_request":
        return HelloRequest()
    return Foreign(name[:80])


def _decode_classify(topic: str, arguments: list) -> Classify:
    if len(arguments) != 4:
        raise WireError(f"MMTT::classify has {len(arguments)} arguments, not 4")
    reply_topic = _value(arguments[1], "string", "reply topic")
    if len(reply_topic) > MAX_TOPIC or not _NODE_TOPIC.match(reply_topic):
        raise WireError(f"reply topic {_short(reply_topic)} is not mmtt/node/NAME")
    batch_id = _count(arguments[2], "batch id")
    elements = _vector(arguments[3], "flows")
    if len(elements) > MAX_FLOWS:
        raise WireError(f"batch of {len(elements)} flows; at most {MAX_FLOWS} are taken")
    flows = [_value(element, "string", "flow") for element in elements]
    uids, windows, series, problems = decode_flows(flows)
    return Classify(topic, reply_topic, batch_id, uids, windows, series, problems)


def decode_flows(flows: list[str]) -> tuple[list[str], list[int], SeriesBatch, dict[int, str]]:
    """Uids, window numbers, the good flows' series, and what is wrong with the others by place."""
    if (rows := _parse_together(flows)) is not None and (series := _pack(rows)) is not None:
        return [row["uid"] for row in rows], [row["window"] for row in rows], series, {}
    # Something is wrong with one of them at least: look at each by itself.
    uids, windows, good, problems = [], [], [], {}
    for place, flow in enumerate(flows):
        uid, window = "", 0
        try:
            row = _parse(flow, "flow")
            if type(row) is not dict:
                raise WireError(f"flow is {_kind(row)}, not a JSON object")
            uid = row["uid"] if _is_uid(row.get("uid")) else ""
            window = row["window"] if _is_window(row.get("window")) else 0
            good.append(_check_flow(row))
        except WireError as error:
            problems[place] = str(error)
        uids.append(uid)
        windows.append(window)
    return uids, windows, SeriesBatch.concatenate(good), problems


def _parse_together(flows: list[str]) -> list[dict] | None:
    """All flows parsed at once; None where one by one could tell otherwise."""
    text = ",".join(flows)
    # One object per string and none inside another: else "{…},{…" beside "…}" would pass for two flows.
    n = len(flows)
    if text.count("{") != n or text.count("}") != n or not all(f[:1] == "{" and f[-1:] == "}" for f in flows):
        return None
    try:
        rows = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        return None
    return rows if len(rows) == n else None


def _pack(rows: list[dict]) -> SeriesBatch | None:
    """The series of flows that are all what they should be, else None. The same rules as :func:`_check_flow`."""
    for row in rows:
        if row.keys() != _FLOW_KEYS or not _is_uid(row["uid"]) or not _is_window(row["window"]):
            return None
        sizes, times = row["sizes"], row["times"]
        if type(sizes) is not list or type(times) is not list or len(sizes) != len(times):
            return None
    lengths = np.fromiter((len(row["sizes"]) for row in rows), np.int32, len(rows))
    if not len(rows):
        return SeriesBatch.empty()
    if lengths.min() < MIN_PACKETS or lengths.max() > MAX_PAYLOAD_PACKETS:
        return None
    sizes = list(chain.from_iterable(row["sizes"] for row in rows))
    times = list(chain.from_iterable(row["times"] for row in rows))
    # numpy would take true for 1 and cut 1.5 to 1.
    if {*map(type, sizes), *map(type, times)} != {int}:
        return None
    try:
        sizes, times = np.array(sizes, np.int64), np.array(times, np.int64)
    except OverflowError:
        return None
    if sizes.min() < -MAX_SIZE or sizes.max() > MAX_SIZE or not sizes.all():
        return None
    if times.min() < 0 or times.max() > MAX_WAIT_US:
        return None
    filled = np.arange(MAX_PAYLOAD_PACKETS) < lengths[:, None]
    packed_sizes = np.zeros(filled.shape, np.int32)
    packed_times = np.zeros(filled.shape, np.int32)
    packed_sizes[filled] = sizes
    packed_times[filled] = times
    # Past a row's length the times are 0; there, and only there, they may go back.
    if packed_times[:, 0].any() or ((np.diff(packed_times) < 0) & filled[:, 1:]).any():
        return None
    return SeriesBatch(packed_sizes, packed_times, lengths)


def _check_flow(row: dict) -> SeriesBatch:
    """The series of one flow; raises WireError with the first thing that is wrong with it."""
    if missing := _FLOW_KEYS - row.keys():
        raise WireError(f"flow has no {min(missing)}")
    if extra := row.keys() - _FLOW_KEYS:
        raise WireError(f"flow has a key {_short(min(extra))} that is not known")
    if not _is_uid(row["uid"]):
        raise WireError(f"uid {_short(row['uid'])} is not 1 to {MAX_UID} printable ASCII characters")
    if not _is_window(row["window"]):
        raise WireError(f"window {_short(row['window'])} is not 0 to {len(WINDOW_STARTS) - 1}")
    sizes, times = row["sizes"], row["times"]
    for key, values in (("sizes", sizes), ("times", times)):
        if type(values) is not list:
            raise WireError(f"{key} is {_kind(values)}, not an array")
        for value in values:
            if type(value) is not int:
                raise WireError(f"{key} holds {_short(value)}, not only integers")
    if len(sizes) != len(times):
        raise WireError(f"{len(sizes)} sizes but {len(times)} times")
    if not MIN_PACKETS <= len(sizes) <= MAX_PAYLOAD_PACKETS:
        raise WireError(f"{len(sizes)} packets, not {MIN_PACKETS} to {MAX_PAYLOAD_PACKETS}")
    for size in sizes:
        if not 0 < abs(size) <= MAX_SIZE:
            raise WireError(f"size {_short(size)} is not 1 to {MAX_SIZE} either way")
    if times[0] != 0:
        raise WireError(f"first time is {_short(times[0])}, not 0")
    for earlier, later in pairwise(times):
        if later < earlier:
            raise WireError(f"times go back from {_short(earlier)} to {_short(later)}")
    if times[-1] > MAX_WAIT_US:
        raise WireError(f"time {_short(times[-1])} is past {MAX_WAIT_US}")
    return SeriesBatch.from_lists([sizes], [times])


def _is_uid(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_UID and value.isascii() and value.isprintable()


def _is_window(value: Any) -> bool:
    return type(value) is int and 0 <= value < len(WINDOW_STARTS)


def _parse(text: str, what: str) -> Any:
    """JSON of any value; raises WireError where json raises anything at all."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise WireError(f"{what} is not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise WireError(f"{what} is JSON nested too deep") from None
    except ValueError:
        raise WireError(f"{what} holds a number that is too long") from None


def _vector(value: Any, what: str) -> list:
    return _value(value, "vector", what)


_TYPES = {"vector": list, "string": str, "count": int}


def _value(value: Any, data_type: str, what: str) -> Any:
    """The content of ``{"@data-type": data_type, "data": …}``."""
    try:
        if value["@data-type"] == data_type and type(data := value["data"]) is _TYPES[data_type]:
            return data
    except (TypeError, KeyError, IndexError):
        pass
    raise WireError(f"{what} is not a {data_type}")


def _count(value: Any, what: str) -> int:
    count = _value(value, "count", what)
    if not 0 <= count < _UINT64:
        raise WireError(f"{what} {_short(count)} is not a 64-bit count")
    return count


def _text(content: dict, key: str) -> str:
    value = content.get(key)
    if type(value) is not str:
        raise WireError(f"message has no {key}")
    return value


def _kind(value: Any) -> str:
    """What JSON calls the type of ``value``."""
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "an object", list: "an array", str: "a string", type(None): "null"}.get(type(value), "a number")


def _short(value: Any) -> str:
    """``value`` on one line, not too long, whatever it is."""
    if type(value) is int and abs(value) >= 1 << 128:
        return "a huge number"
    if isinstance(value, dict | list):
        return _kind(value)
    text = ascii(value)
    return text if len(text) <= 48 else f"{text[:45]}..."


# Messages out.


def encode_subscriptions(topics: list[str]) -> str:
    """The first message of a connection."""
    return json.dumps(topics)


def encode_hello(agent: str, topic: str, model: str, credit: int) -> str:
    return _event(
        SENSOR_TOPIC,
        "MMTT::agent_hello",
        f"{_out_count(PROTOCOL)},{_out(agent)},{_out(topic)},{_out(model)},{_out_count(credit)}",
    )


def encode_tick(agent: str) -> str:
    return _event(SENSOR_TOPIC, "MMTT::tick", f"{_out_count(PROTOCOL)},{_out(agent)}")


def encode_bye(agent: str) -> str:
    return _event(SENSOR_TOPIC, "MMTT::agent_bye", f"{_out_count(PROTOCOL)},{_out(agent)}")


def encode_verdicts(batch: Classify, verdicts: Verdicts | None, shed: range | None = None) -> str:
    """The answer to a batch: one record per flow, in order.

    Args:
        verdicts: of the batch's good flows that are not shed, in order; None where they could not be had
            ("error" for every one).
        shed: places in the batch that were not looked at for want of credit.
    """
    shed = shed or range(0)
    answers = iter(()) if verdicts is None else _answers(verdicts)
    records = []
    for place, (uid, window) in enumerate(zip(batch.uids, batch.windows)):
        if place in batch.problems:
            tail = _NO_VERDICT["error"]
        elif place in shed:
            tail = _NO_VERDICT["shed"]
        else:
            tail = next(answers, _NO_VERDICT["error"])
        records.append(
            '{"@data-type":"vector","data":[{"@data-type":"string","data":'
            f'{encode_basestring_ascii(uid)}}},{{"@data-type":"count","data":{window}}},{tail}]}}'
        )
    return _event(
        batch.reply_topic,
        "MMTT::verdicts",
        f"{_out_count(PROTOCOL)},{_out_count(batch.batch_id)},"
        f'{{"@data-type":"vector","data":[{",".join(records)}]}}',
    )


def _answers(verdicts: Verdicts):
    """The fields of a record from status on, verdict by verdict."""
    for service, service_score, application, application_score, malicious, malicious_score in zip(
        verdicts.service,
        verdicts.service_score.tolist(),
        verdicts.application,
        verdicts.application_score.tolist(),
        verdicts.malicious.tolist(),
        verdicts.malicious_score.tolist(),
    ):
        yield _tail("ok", service, service_score, application, application_score, malicious, malicious_score)


def _tail(status, service, service_score, application, application_score, malicious, malicious_score) -> str:
    return (
        f'{{"@data-type":"string","data":"{status}"}},'
        f'{{"@data-type":"string","data":{encode_basestring_ascii(service)}}},'
        f'{{"@data-type":"real","data":{service_score:.4f}}},'
        f'{{"@data-type":"string","data":{encode_basestring_ascii(application)}}},'
        f'{{"@data-type":"real","data":{application_score:.4f}}},'
        f'{{"@data-type":"boolean","data":{"true" if malicious else "false"}}},'
        f'{{"@data-type":"real","data":{malicious_score:.4f}}}'
    )


_NO_VERDICT = {status: _tail(status, "", 0, "", 0, False, 0) for status in ("shed", "error")}


def _event(topic: str, name: str, arguments: str) -> str:
    return (
        f'{{"type":"data-message","topic":{encode_basestring_ascii(topic)},"@data-type":"vector","data":'
        '[{"@data-type":"count","data":1},{"@data-type":"count","data":1},{"@data-type":"vector","data":'
        f'[{_out(name)},{{"@data-type":"vector","data":[{arguments}]}}]}}]}}'
    )


def _out(text: str) -> str:
    return f'{{"@data-type":"string","data":{encode_basestring_ascii(text)}}}'


def _out_count(value: int) -> str:
    return f'{{"@data-type":"count","data":{value}}}'
