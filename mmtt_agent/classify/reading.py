"""Rows of ``mmtt.log`` and ``mmtt_incidents.log``, made of what a log holds: :mod:`.log` read back."""

from __future__ import annotations

import math
from typing import Any

from ..logs import RowError
from .log import INCIDENT_COLUMNS
from .row import IncidentRow, Row

#: Those of an incident, from the first on.
STATES = ("opened", "grown", "closed")
#: µs since 1970 that no log is from.
LATEST = 4 * 10**18
#: Columns of mmtt_incidents.log that are times.
INCIDENT_TIMES = tuple(name for name, kind in INCIDENT_COLUMNS if kind == "time")
#: What a row must have; the rest may be unset.
_NEEDED = ("ts", "uid", "window", "packets", "status")
_INCIDENT_NEEDED = ("ts", "id", "state", "score", "connections", "first", "last")


def window(record: dict[str, Any]) -> Row:
    """A row of ``mmtt.log``, of Zeek or of ``mmtt classify``. Ends that are unset are "" and port 0.

    Args:
        record: as :func:`mmtt_agent.logs.records` gives them.

    Raises:
        RowError: it can't be one.
    """
    if missing := [name for name in _NEEDED if name not in record]:
        raise RowError(f"it has no {missing[0]}; is it mmtt.log?")
    try:
        malicious = record.get("malicious")
        if malicious is not None and not isinstance(malicious, bool):
            raise ValueError(f"malicious is {malicious!r}")
        return Row(
            ts=_time(record["ts"]),
            uid=str(record["uid"]),
            orig_h=_text(record, "id.orig_h") or "",
            orig_p=_port(record.get("id.orig_p", 0)),
            resp_h=_text(record, "id.resp_h") or "",
            resp_p=_port(record.get("id.resp_p", 0)),
            proto=_text(record, "proto") or "",
            window=int(record["window"]),
            packets=int(record["packets"]),
            service=_text(record, "service"),
            service_score=_score(record, "service_score"),
            application=_text(record, "application"),
            application_score=_score(record, "application_score"),
            malicious=malicious,
            malicious_score=_score(record, "malicious_score"),
            malicious_kind=_text(record, "malicious_kind"),
            status=str(record["status"]),
            latency=None,
            model=_text(record, "model"),
            incident=_text(record, "incident"),
            capture=str(record.get("capture", "")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise RowError(f"it can't be of a window: {error}") from None


def incident(record: dict[str, Any]) -> IncidentRow:
    """A row of ``mmtt_incidents.log``, likewise.

    Raises:
        RowError: it can't be one.
    """
    if missing := [name for name in _INCIDENT_NEEDED if name not in record]:
        raise RowError(f"it has no {missing[0]}; is it mmtt_incidents.log?")
    try:
        port = record.get("resp_p")
        row = IncidentRow(
            **{name: int(record[name]) for name in INCIDENT_TIMES},
            id=str(record["id"]),
            state=str(record["state"]),
            orig_h=_text(record, "orig_h"),
            resp_h=_text(record, "resp_h"),
            resp_p=None if port is None else int(port),
            kind=_text(record, "kind"),
            score=float(record["score"]),
            connections=int(record["connections"]),
            orig_bytes=int(record.get("orig_bytes", 0)),
            resp_bytes=int(record.get("resp_bytes", 0)),
            reason=str(record.get("reason", "")),
            uids=tuple(map(str, record.get("uids", ()))),
            capture=str(record.get("capture", "")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise RowError(f"it can't be of an incident: {error}") from None
    if row.state not in STATES:
        raise RowError(f"its state is {row.state!r}, not one of {', '.join(STATES)}")
    return row


def _text(record: dict[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name} is {value!r}")


def _score(record: dict[str, Any], name: str) -> float | None:
    if (value := record.get(name)) is None:
        return None
    if not math.isfinite(score := float(value)):
        raise ValueError(f"{name} is {value!r}")
    return score


def _time(value: Any) -> int:
    if not 0 <= (time := int(value)) < LATEST:
        raise ValueError(f"{time} is no time")
    return time


def _port(value: Any) -> int:
    if not 0 <= (port := int(value)) <= 65_535:
        raise ValueError(f"{port} is no port")
    return port
