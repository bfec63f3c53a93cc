"""What other logs say of an incident's strongest flows; where it names none, of its first connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import Path
from typing import Any

from .. import logs
from ..classify.log import INCIDENT_COLUMNS
from .found import Found

Record = dict[str, Any]
_NAMES = [name for name, _ in INCIDENT_COLUMNS]
_TIMES = {name for name, kind in INCIDENT_COLUMNS if kind == "time"}


@dataclass
class Evidence:
    """Rows of ``mmtt.log`` and of ``conn.log``, each in order of time. There are none of a log that is not there."""

    flows: list[Record] = field(default_factory=list)
    connections: list[Record] = field(default_factory=list)


#: Connections shown of an incident that names none: its first.
_SOME = 10


def of(incident: Found) -> tuple[Evidence, list[str]]:
    """The rows of an incident's strongest flows in the logs beside its own; and a line for each that can't be read, or
    not all of its rows."""
    found, problems = Evidence(), []
    for rows, name in ((found.flows, "mmtt"), (found.connections, "conn")):
        for path in sorted(path for place in incident.places for path in _beside(place, name)):
            damaged = logs.Damaged()
            try:
                rows.extend(_of_log(path, incident, damaged))
            except logs.LogError as error:
                problems.append(str(error))
            problems += damaged.told(path)
        rows.sort(key=_begin)
        if not incident.uids:
            del rows[_SOME:]
    return found, problems


def _of_log(path: Path, incident: Found, damaged: logs.Damaged) -> list[Record]:
    if uids := incident.uids:
        return [each for each in logs.records(path, damaged, words=uids) if each.get("uid") in uids]
    # Zeek may have lost the names of hosts: see MMTT::key_file.
    if not (ends := _ends(incident)):
        return []
    # A scan may have millions.
    all_rows = logs.records(path, damaged, words=[str(next(iter(ends.values())))])
    such = (each for each in all_rows if ends.items() <= each.items())
    return nsmallest(_SOME, such, key=_begin)


def _begin(row: Record) -> int:
    return int(row.get("ts", 0))


def _ends(incident: Found) -> Record:
    """Who and with whom, as the columns of its connections have it."""
    row = incident.latest
    ends = {"id.orig_h": row.orig_h, "id.resp_h": row.resp_h, "id.resp_p": row.resp_p}
    return {name: value for name, value in ends.items() if value is not None}


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
