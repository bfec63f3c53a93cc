"""Captures and logs, read into a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import logs
from ..classifier import Classifier
from ..classify import reading, run
from ..classify.progress import Progress
from ..classify.row import IncidentRow, Row
from ..classify.sources import called
from ..output import shown
from .inputs import Inputs
from .shapes import Shapes
from .store import Store

#: Rows between two looks at the progress.
_STEP = 10_000


@dataclass
class Gathered:
    """What was read.

    Attributes:
        sources: of each file its name, what it is, and how many rows or windows came of it.
        read: how many files could be, with what there is in them.
        said: what was said of them, a line each: what could not be read, or was left out and why.
    """

    sources: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    said: list[str] = field(default_factory=list)


def gather(
    inputs: Inputs,
    classifier: Classifier | None,
    store: Store,
    shapes: Shapes,
    told: Progress,
    say: Callable[[str], None],
    checksums: bool = True,
) -> Gathered:
    """Read all ``inputs`` into ``store``, and the packets of captures into ``shapes``.

    Args:
        classifier: for captures; None where there are none.
        say: takes the lines for standard error.
        checksums: as in :func:`mmtt_agent.classify.run.classify`.
    """
    found = Gathered()
    for number, path in enumerate(inputs.captures, 1):
        assert classifier
        _capture(path, _Numbered(told, number), classifier, store, shapes, say, checksums, found)
    number = len(inputs.captures)
    for paths, kind, take, times in (
        (inputs.windows, "mmtt.log", lambda record: store.add(reading.window(record)), ("ts",)),
        (
            inputs.incidents,
            "mmtt_incidents.log",
            lambda record: store.add_incident(reading.incident(record)),
            reading.INCIDENT_TIMES,
        ),
        (inputs.connections, "conn.log", lambda record: _connection(store, record), ("ts",)),
    ):
        for path in paths:
            number += 1
            _log(path, number, kind, take, times, told, say, found)
            found.sources[-1]["beside"] = path in inputs.beside
    return found


def _capture(
    path: Path | None,
    told: Progress,
    classifier: Classifier,
    store: Store,
    shapes: Shapes,
    say: Callable[[str], None],
    checksums: bool,
    found: Gathered,
) -> None:
    rows = 0

    def write(row: Row | IncidentRow) -> None:
        nonlocal rows
        if isinstance(row, IncidentRow):
            store.add_incident(row)
        else:
            store.add(row)
            rows += 1

    def note(line: str) -> None:
        say(line)
        found.said.append(shown(line))

    read, problems = run.classify([path], classifier, write, told, note, checksums, shapes.put)
    found.read += read
    found.sources.append({"name": shown(called(path)), "kind": "capture", "rows": rows, "whole": not problems})


def _log(
    path: Path,
    number: int,
    kind: str,
    take: Callable[[dict[str, Any]], None],
    times: Iterable[str],
    told: Progress,
    say: Callable[[str], None],
    found: Gathered,
) -> None:
    rows, damaged, problems = 0, logs.Damaged(), list[str]()
    try:
        for record in logs.records(path, damaged, times):
            try:
                take(record)
            except logs.RowError as error:
                damaged.add(str(error))
                continue
            rows += 1
            if rows % _STEP == 0:
                told.counting(number, str(path), "rows", rows)
        found.read += 1
    except logs.LogError as error:
        problems.append(str(error))
        found.read += rows > 0
    problems += damaged.told(path)
    for line in problems:
        say(line)
    found.said += map(shown, problems)
    found.sources.append({"name": shown(path), "kind": kind, "rows": rows, "whole": not problems})


def _connection(store: Store, record: dict[str, Any]) -> None:
    try:
        store.add_connection(record)
    except ValueError as error:
        raise logs.RowError(str(error)) from None


class _Numbered:
    """Progress of a capture that is read by itself, as one of several."""

    def __init__(self, told: Progress, number: int) -> None:
        self._told, self._number = told, number

    def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
        self._told.reading(self._number, name, size, read, packets)

    def classifying(self, number: int, name: str, done: int, windows: int) -> None:
        self._told.classifying(self._number, name, done, windows)

    def counting(self, number: int, name: str, what: str, done: int) -> None:
        self._told.counting(self._number, name, what, done)
