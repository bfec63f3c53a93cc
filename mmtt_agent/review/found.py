"""Incidents as logs tell of them: what a log's rows say of each, and those that are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .. import logs
from ..classify.log import INCIDENT_COLUMNS
from ..classify.row import IncidentRow
from ..networks import Network

#: The log's name, without .log.
LOG = "mmtt_incidents"
_STATES = ("opened", "grown", "closed")
#: What a row must have; the rest may be unset.
_NEEDED = ("ts", "id", "state", "score", "connections", "first", "last")
_TIMES = tuple(name for name, kind in INCIDENT_COLUMNS if kind == "time")


@dataclass
class Found:
    """An incident.

    Attributes:
        rows: in order of time, one at least.
        places: directories of the logs that they are in.
    """

    rows: list[IncidentRow]
    places: set[Path]

    @property
    def latest(self) -> IncidentRow:
        return self.rows[-1]

    @property
    def uids(self) -> list[str]:
        """Of its strongest flows at whatever time, the latest row's first."""
        return [*dict.fromkeys(uid for row in reversed(self.rows) for uid in row.uids)]


def read(paths: Iterable[Path]) -> tuple[list[Found], list[str]]:
    """The incidents of logs, by the time of their latest row, the newest first; and a line for each log that can't be
    read, not to its end, or not all of its rows. A row that is in two logs counts once."""
    found: dict[tuple[str, str], Found] = {}
    problems: list[str] = []
    for path in paths:
        damaged = logs.Damaged()
        try:
            for record in logs.records(path, damaged, _TIMES):
                try:
                    row = _row(record)
                except logs.RowError as error:
                    damaged.add(str(error))
                    continue
                each = found.setdefault((row.capture, row.id), Found([], set()))
                each.places.add(path.parent)
                if row not in each.rows:
                    each.rows.append(row)
        except logs.LogError as error:
            problems.append(str(error))
        problems += damaged.told(path)
    for each in found.values():
        each.rows.sort(key=lambda row: (row.ts, _STATES.index(row.state)))
    return sorted(found.values(), key=lambda each: (-each.latest.ts, each.latest.id)), problems


def _row(record: dict[str, Any]) -> IncidentRow:
    if missing := [name for name in _NEEDED if name not in record]:
        raise logs.RowError(f"it has no {missing[0]}; is it mmtt_incidents.log?")
    try:
        port = record.get("resp_p")
        row = IncidentRow(
            **{name: int(record[name]) for name in _TIMES},
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
        raise logs.RowError(f"it can't be of an incident: {error}") from None
    if row.state not in _STATES:
        raise logs.RowError(f"its state is {row.state!r}, not one of {', '.join(_STATES)}")
    return row


def _text(record: dict[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name} is {value!r}")


def is_of_host(row: IncidentRow, network: Network) -> bool:
    """Whether one of the ends that are known is in a network."""
    for end in (row.orig_h, row.resp_h):
        try:
            if end is not None and ip_address(end) in network:
                return True
        except ValueError:
            continue
    return False
