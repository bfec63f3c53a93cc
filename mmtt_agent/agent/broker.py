"""Zeek's WebSocket API, /v1/messages/json: Broker's data model as JSON, events in and out. Knows no event of ours."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

#: Longest message taken, in bytes; the longest that Zeek's package sends is about 45,000.
MAX_MESSAGE = 1 << 20

_PYTHON_TYPES = {"vector": list, "string": str, "count": int}


class WireError(Exception):
    """A message that is not what it should be; the text is one line."""


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
class Event:
    """An event of Zeek's; its arguments are still wrapped, see :func:`unwrap`."""

    topic: str
    name: str
    arguments: list[Any]


# Messages in.


def decode(message: str | bytes) -> Ack | Refused | Event:
    """What a message holds.

    Raises:
        WireError: the message is none of the three, whatever else it is.
    """
    if len(message) > MAX_MESSAGE:
        raise WireError(f"message of {len(message)} bytes; at most {MAX_MESSAGE} are taken")
    if not isinstance(message, str):
        try:
            message = bytes(message).decode()
        except UnicodeDecodeError as error:
            raise WireError(f"message is not UTF-8 at byte {error.start}") from None
    content = parse(message, "message")
    if type(content) is not dict:
        raise WireError(f"message is {kind(content)}, not a JSON object")
    message_type = content.get("type")
    if message_type == "data-message":
        return _decode_event(content)
    if message_type == "ack":
        return Ack(_text(content, "endpoint"), _text(content, "version"))
    if message_type == "error":
        return Refused(_text(content, "code"), _text(content, "context"))
    raise WireError(f"message has type {short(message_type)}, not data-message, ack or error")


def _decode_event(content: dict[str, Any]) -> Event:
    topic = _text(content, "topic")
    outer = unwrap(content, "vector", "message")
    if len(outer) < 3 or unwrap(outer[0], "count", "format") != 1 or unwrap(outer[1], "count", "message type") != 1:
        raise WireError("message is not an event of Broker's format 1")
    event = unwrap(outer[2], "vector", "event")
    if len(event) < 2:
        raise WireError("event has no name and arguments")
    name = unwrap(event[0], "string", "event name")[:80]
    return Event(topic, name, unwrap(event[1], "vector", f"{name}'s arguments"))


def unwrap(value: Any, data_type: str, what: str) -> Any:
    """The content of ``{"@data-type": data_type, "data": …}``; ``what`` names it in the error.

    Raises:
        WireError: it is of another type.
    """
    try:
        if value["@data-type"] == data_type and type(data := value["data"]) is _PYTHON_TYPES[data_type]:
            if data_type == "count" and not 0 <= data < 1 << 64:  # type: ignore[operator]  # it is an int, see above
                raise WireError(f"{what} {short(data)} is not a 64-bit count")
            return data
    except (TypeError, KeyError, IndexError):
        pass
    raise WireError(f"{what} is not a {data_type}")


def parse(text: str, what: str) -> Any:
    """JSON of any value; raises WireError where json raises anything at all."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise WireError(f"{what} is not JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise WireError(f"{what} is JSON nested too deep") from None
    except ValueError:
        raise WireError(f"{what} holds a number that is too long") from None


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    if type(value) is not str:
        raise WireError(f"message has no {key}")
    return value


def kind(value: Any) -> str:
    """What JSON calls the type of ``value``."""
    if isinstance(value, bool):
        return "a boolean"
    return {dict: "an object", list: "an array", str: "a string", type(None): "null"}.get(type(value), "a number")


def short(value: Any) -> str:
    """``value`` on one line, not too long, whatever it is."""
    if type(value) is int and abs(value) >= 1 << 128:
        return "a huge number"
    if isinstance(value, dict | list):
        return kind(value)
    text = ascii(value)
    return text if len(text) <= 48 else f"{text[:45]}..."


# Messages out. By hand and not by json.dumps, which is three times slower on what is nearly all constant.


def encode_subscriptions(topics: list[str]) -> str:
    """The first message of a connection."""
    return json.dumps(topics)


def encode_event(topic: str, name: str, *arguments: str) -> str:
    """An event; its arguments are what the functions below return."""
    return (
        f'{{"type":"data-message","topic":{encode_basestring_ascii(topic)},"@data-type":"vector","data":'
        f"[{count(1)},{count(1)},{vector((string(name), vector(arguments)))}]}}"
    )


def string(text: str) -> str:
    return f'{{"@data-type":"string","data":{encode_basestring_ascii(text)}}}'


def count(value: int) -> str:
    return f'{{"@data-type":"count","data":{value}}}'


def real(value: float) -> str:
    # Always with a decimal point: Zeek takes a number without one for an integer, and refuses the event.
    return f'{{"@data-type":"real","data":{value:.4f}}}'


def seconds(microseconds: int) -> str:
    """A time as a number of seconds, with all six decimals."""
    return f'{{"@data-type":"real","data":{microseconds // 10**6}.{microseconds % 10**6:06d}}}'


def boolean(value: bool) -> str:
    return f'{{"@data-type":"boolean","data":{"true" if value else "false"}}}'


def vector(elements: Iterable[str]) -> str:
    """A vector of encoded elements; also what a record is."""
    return f'{{"@data-type":"vector","data":[{",".join(elements)}]}}'
