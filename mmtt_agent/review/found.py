"""Incidents as logs tell of them: what a log's rows say of each, and those that are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from .. import logs
from ..classify import reading
from ..classify.reading import STATES
from ..classify.row import IncidentRow
from ..networks import Network

#: The log's name, without .log.
LOG = "mmtt_incidents"


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
            for record in logs.records(path, damaged, reading.INCIDENT_TIMES):
                try:
                    row = reading.incident(record)
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
        each.rows.sort(key=lambda row: (row.ts, STATES.index(row.state)))
    return sorted(found.values(), key=lambda each: (-each.latest.ts, each.latest.id)), problems


def is_of_host(row: IncidentRow, network: Network) -> bool:
    """Whether one of the ends that are known is in a network."""
    for end in (row.orig_h, row.resp_h):
        try:
            if end is not None and ip_address(end) in network:
                return True
        except ValueError:
            continue
    return False
