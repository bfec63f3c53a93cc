"""An event of Suricata's, as far as a verdict's place in it goes: is it one, of which flow, and of when."""

from __future__ import annotations

import json
import socket
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

#: The protocols that there are verdicts on, as Suricata, and as Zeek and we, spell them.
_PROTOCOLS = {"TCP": 6, "UDP": 17, "tcp": 6, "udp": 17}


class Place(NamedTuple):
    """Which flow an event is of, and when that was: µs since 1970.

    Attributes:
        key: of the flow's end points (:func:`key`); of an event that lacks one of them, or in which one is none,
            its community ID.
        flow_id: Suricata's.
        at: the event's time.
        start, end: when the flow began and ended, where the event says so.
        vlan: that its packets were of, the outermost first; empty of those without.
    """

    key: bytes | str
    flow_id: int | None
    at: int
    start: int | None
    end: int | None
    vlan: tuple[int, ...] = ()


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and Infinity: Python reads them, JSON knows nothing of them


_decode = json.JSONDecoder(parse_constant=_no_number).raw_decode


def read(line: bytes) -> dict[str, Any] | None:
    """The JSON object that a line is, white space around it aside; None if it is anything else."""
    try:
        text = line.decode()
        start = 0 if text.startswith("{") else len(text) - len(text.lstrip(" \t\r\n"))
        found, end = _decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or text[end:].strip(" \t\r\n"):
        return None
    return found


def is_ambiguous(line: bytes) -> bool:
    """Whether a JSON object names a field twice. One reader would take the first, another the last."""
    try:
        json.loads(line, object_pairs_hook=_once)
    except KeyError:
        return True
    return False


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise KeyError
    return found


def place(event: dict[str, Any]) -> Place | None:
    """None for an event without a flow that a verdict could be on."""
    of = event.get
    where: bytes | str | None
    try:
        where = key(of("proto"), of("src_ip"), of("src_port"), of("dest_ip"), of("dest_port"))
    except TypeError:  # a list, or an object
        where = None
    if where is None:
        named, protocol = of("community_id"), of("proto")
        # There are no verdicts on other protocols: nothing to wait for.
        if not isinstance(named, str) or (isinstance(protocol, str) and protocol not in _PROTOCOLS):
            return None
        where = named
    at = time(of("timestamp"))
    if at is None:
        return None
    start = end = None
    flow = of("netflow" if of("event_type") == "netflow" else "flow")
    if isinstance(flow, dict):
        start, end = time(flow.get("start")), time(flow.get("end"))
    flow_id = of("flow_id")
    tags = of("vlan")
    vlan = tuple(tag for tag in tags if type(tag) is int) if isinstance(tags, list) else ()
    return Place(where, flow_id if type(flow_id) is int else None, at, start, end, vlan)


# The same few over and over; True is no 1 here.
@lru_cache(maxsize=16_384, typed=True)
def key(protocol: Any, src: Any, src_port: Any, dest: Any, dest_port: Any) -> bytes | None:
    """The same bytes for the same end points, whichever comes first and however their addresses are spelled; None where
    they are none. The community ID is a checksum of the same; this one needs no seed that all agree on.

    Raises:
        TypeError: something is a list or an object.
    """
    if type(src_port) is not int or type(dest_port) is not int:
        return None
    try:
        number = _PROTOCOLS[protocol]
        one = _address(src) + src_port.to_bytes(2, "big")
        other = _address(dest) + dest_port.to_bytes(2, "big")
    except (KeyError, OSError, ValueError, TypeError, OverflowError):
        return None
    if len(one) != len(other):
        return None
    return bytes((number,)) + (one + other if one <= other else other + one)


def ends(of: bytes) -> tuple[int, bytes, int, bytes, int]:
    """Protocol, address, port, address and port of a key."""
    half = (len(of) - 1) // 2
    one, other = of[1 : 1 + half], of[1 + half :]
    return of[0], one[:-2], int.from_bytes(one[-2:], "big"), other[:-2], int.from_bytes(other[-2:], "big")


@lru_cache(maxsize=65_536)
def _address(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def time(text: Any) -> int | None:
    """µs since 1970 of ``2026-11-28T04:13:52.123456+0000``; None for what is no such time."""
    if type(text) is not str:
        return None
    try:
        digits = text[20:26]
        if len(digits) != 6 or not (digits.isascii() and digits.isdecimal()):
            return None
        return _second(text[:20], text[26:]) + int(digits)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _second(text: str, zone: str) -> int:
    """µs since 1970 of ``2026-11-28T04:13:52.`` in a zone: +0130, +01:30 or Z."""
    return int(datetime.strptime(text + zone, "%Y-%m-%dT%H:%M:%S.%z").timestamp()) * 1_000_000
