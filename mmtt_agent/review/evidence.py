"""What other logs say of an incident's strongest flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..classify.log import INCIDENT_COLUMNS
from . import logs
from .found import Found

Record = dict[str, Any]
_NAMES = [name for name, _ in INCIDENT_COLUMNS]
_TIMES = {name for name, kind in INCIDENT_COLUMNS if kind == "time"}


@dataclass
class Evidence:
    """Rows of ``mmtt.log`` and of ``conn.log``, each in order of time. There are none of a log that is not there."""

    flows: list[Record] = field(default_factory=list)
    connections: list[Record] = field(default_factory=list)


def of(incident: Found) -> tuple[Evidence, list[str]]:
    """The rows of an incident's strongest flows in the logs beside its own; and a line for each that can't be read."""
    found, problems = Evidence(), []
    uids = incident.uids
    for rows, name in ((found.flows, "mmtt"), (found.connections, "conn")) if uids else ():
        for path in sorted(path for place in incident.places for path in _beside(place, name)):
            try:
                rows += [each for each in logs.records(path, words=uids) if each.get("uid") in uids]
            except logs.LogError as error:
                problems.append(str(error))
        rows.sort(key=lambda row: row.get("ts", 0))
    return found, problems


def protocol(incident: Found) -> str | None:
    """Of its port, "tcp" or "udp", as the logs of its flows have it; mmtt_incidents.log does not say."""
    about, _ = of(incident)
    found = {row.get("proto") for row in (*about.flows, *about.connections)}
    return str(found.pop()) if len(found) == 1 and found <= {"tcp", "udp"} else None


def as_json(incident: Found, about: Evidence) -> dict[str, Any]:
    """All that is known, as JSON can hold it: times in seconds."""
    return {
        "id": incident.latest.id,
        "rows": [_seconds(dict(zip(_NAMES, row, strict=False))) for row in incident.rows],
        "flows": [_seconds(row) for row in about.flows],
        "connections": [_seconds(row) for row in about.connections],
    }


def _seconds(row: Record) -> Record:
    return {name: value / 1e6 if name in _TIMES else value for name, value in row.items() if value is not None}


def _beside(place: Path, name: str) -> list[Path]:
    return [path for path in logs.files(place, name) if path.parent == place]
