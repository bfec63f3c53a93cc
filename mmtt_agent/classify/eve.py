"""Verdicts and incidents as events of Suricata's EVE: JSON, one a line, told apart by ``event_type``.

``mmtt`` is a verdict, with what it says in an object ``mmtt``; ``mmtt_incident`` a row of ``mmtt_incidents.log``. What
lies around the objects is named, spelled and ordered as Suricata does it, so that what reads its events reads these.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from ..community_id import NUMBERS, community_id
from .log import of_json
from .row import IncidentRow, Row

#: The object of a verdict, in events of ours and of others, and the type of those of ours.
VERDICT = "mmtt"
#: The type of an incident's events, and the object in them.
INCIDENT = "mmtt_incident"

_FIELDS = (
    "uid",
    "window",
    "packets",
    "service",
    "service_score",
    "application",
    "application_score",
    "malicious",
    "malicious_score",
    "malicious_kind",
    "status",
    "model",
    "incident",
)
_INCIDENT_FIELDS = ("id", "state", "kind", "score", "connections", "first", "last", "orig_bytes", "resp_bytes")
_JSON = json.JSONEncoder(separators=(",", ":"))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Seconds after which the calendar begins again, and how many years that are.
_CYCLE, _YEARS = 146_097 * 86_400, 400


def verdict(row: Row | Mapping[str, Any]) -> dict[str, Any]:
    """What a verdict says: the object ``mmtt``. What is unset is left out.

    Args:
        row: one of ours, or one read from an ``mmtt.log``, by column.
    """
    fields = row._asdict() if isinstance(row, Row) else row
    return {name: value for name in _FIELDS if (value := fields.get(name)) is not None}


def event(row: Row, interface: str | None = None, seed: int = 0) -> dict[str, Any]:
    """A verdict's event.

    Args:
        interface: that the packets were captured on.
        seed: of the community ID, where the row has none yet.
    """
    found = _head(row.ts, VERDICT, interface)
    found["src_ip"], found["src_port"] = address(row.orig_h), row.orig_p
    found["dest_ip"], found["dest_port"] = address(row.resp_h), row.resp_p
    found["proto"] = row.proto.upper()
    found["community_id"] = row.community_id or community_id(
        NUMBERS[row.proto], row.orig_h, row.orig_p, row.resp_h, row.resp_p, seed
    )
    found[VERDICT] = verdict(row)
    return _of_capture(found, row.capture)


def incident_event(row: IncidentRow, interface: str | None = None) -> dict[str, Any]:
    """An incident's event. Of a host with many others, and of many with one, the other end is left out."""
    found = _head(row.ts, INCIDENT, interface)
    if row.orig_h is not None:
        found["src_ip"] = address(row.orig_h)
    if row.resp_h is not None:
        found["dest_ip"] = address(row.resp_h)
    if row.resp_p is not None:
        found["dest_port"] = row.resp_p
    said = {name: value for name in _INCIDENT_FIELDS if (value := getattr(row, name)) is not None}
    said["first"], said["last"] = timestamp(row.first), timestamp(row.last)
    found[INCIDENT] = said | {"reason": row.reason, "uids": list(row.uids)}
    return _of_capture(found, row.capture)


class EveWriter:
    """Rows of both kinds as lines of one stream, as :class:`.log.TsvWriter` writes those of one kind.

    Args:
        put: takes lines: a sink's ``write``, or that of a file of bytes.
        interface: that the packets are captured on, where they are.
        seed: of community IDs.
    """

    def __init__(self, put: Callable[[bytes], object], interface: str | None = None, seed: int = 0) -> None:
        self._put, self._interface, self._seed = put, interface, seed

    def write(self, row: Row | IncidentRow) -> None:
        if isinstance(row, IncidentRow):
            found = incident_event(row, self._interface)
        else:
            found = event(row, self._interface, self._seed)
        self._put(_JSON.encode(found).encode("ascii") + b"\n")

    def close(self) -> None:
        """Nothing comes after the last line."""


def timestamp(ts: int) -> str:
    """``2026-11-28T04:13:52.123456+0000``, of µs since 1970."""
    seconds, microseconds = divmod(ts, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}+0000"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # A capture with a damaged clock may be of a year that datetime doesn't reach.
    cycles, rest = divmod(seconds, _CYCLE)
    when = _EPOCH + timedelta(seconds=rest)
    return f"{when.year + cycles * _YEARS:04d}{when:-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=8192)
def address(host: str) -> str:
    """As Suricata spells it: IPv6 in full, so that equal ones are equal as text."""
    return ipaddress.IPv6Address(host).exploded if ":" in host else host


def _head(ts: int, event_type: str, interface: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"timestamp": timestamp(ts)}
    if interface is not None:
        found["in_iface"] = interface
    found["event_type"] = event_type
    return found


def _of_capture(found: dict[str, Any], capture: str) -> dict[str, Any]:
    if capture:
        found["pcap_filename"] = of_json(capture)
    return found
