"""Which captures and logs a command line names, told apart by what is in them; and the logs beside those."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .. import logs
from ..classify import sources

#: The logs that a report is made of, by their names, and columns that no other log has together.
_MARKS = {
    "mmtt": {"uid", "window", "packets", "status"},
    "mmtt_incidents": {"id", "state", "connections", "first"},
    "conn": {"uid", "id.orig_h", "history"},
}
#: Zeek leaves out of JSON what is unset, as a history may be.
_MARKS_OF_JSON = {**_MARKS, "conn": {"uid", "id.orig_h", "conn_state"}}
#: Bytes that a log's head and its first row are in.
_HEAD = 65_536


@dataclass
class Inputs:
    """What was found, each once.

    Attributes:
        captures: None is standard input.
        windows, incidents, connections: logs, by what they hold.
        beside: those of them that nobody named; they lay beside one that was.
        problems: a line for each thing that was named, or is there, and can't be read.
        notes: lines on what was passed over on purpose.
    """

    captures: list[Path | None] = field(default_factory=list)
    windows: list[Path] = field(default_factory=list)
    incidents: list[Path] = field(default_factory=list)
    connections: list[Path] = field(default_factory=list)
    beside: set[Path] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All that will be read, but for standard input."""
        return [*filter(None, self.captures), *self.windows, *self.incidents, *self.connections]


def expand(arguments: Iterable[str]) -> Inputs:
    """What ``arguments`` name: files, "-" for a capture on standard input, directories with the logs in them or, if
    there are none, with all captures below them."""
    found = Inputs()
    by_kind = {"mmtt": found.windows, "mmtt_incidents": found.incidents, "conn": found.connections}
    captures: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if argument in ("", "-"):
            captures.append(argument)
        elif path.is_dir():
            if not _directory(path, found):
                captures.append(argument)
        else:
            try:
                kind = _kind(path) if path.is_file() else ""
            except logs.LogError as error:
                found.problems.append(str(error))
                continue
            if kind in by_kind:
                by_kind[kind].append(path)
            elif kind:
                found.problems.append(
                    f"{path}: a log, but not one that a report is made of: mmtt.log, mmtt_incidents.log, conn.log"
                )
            else:
                captures.append(argument)
    of_captures = sources.expand(captures)
    found.captures = of_captures.captures
    found.problems += of_captures.problems
    found.notes += of_captures.notes
    _beside(found)
    for paths in by_kind.values():
        paths[:] = {path.resolve(): path for path in reversed(paths)}.values()
        paths.reverse()
    return found


def _directory(path: Path, found: Inputs) -> bool:
    """Take the logs of a directory; whether there are any with verdicts or incidents."""
    try:
        there = {name: logs.files(path, name) for name in _MARKS}
    except OSError as error:
        found.problems.append(f"{path}: can't be searched for logs: {error.strerror}")
        return True
    if not there["mmtt"] and not there["mmtt_incidents"]:
        return False
    found.windows += there["mmtt"]
    found.incidents += there["mmtt_incidents"]
    found.connections += there["conn"]
    return True


def _kind(path: Path) -> str:
    """Of which name a log is, "?" for one of another; "" for what is no log, and may be a capture.

    Raises:
        logs.LogError: it can't be read.
    """
    try:
        head = logs.begins(path, _HEAD)
    except logs.LogError:
        # A damaged archive may be one of a capture, whose reader says more of it.
        if _of_name(path.name):
            raise
        return ""
    if not head:
        return _of_name(path.name)
    if not head.startswith((b"#", b"{")):
        return ""
    columns, marks = set[str](), _MARKS
    lines = head.decode("utf-8", "replace").splitlines()
    if head.startswith(b"{"):
        marks = _MARKS_OF_JSON
        try:
            columns = {*json.loads(lines[0])}
        except (ValueError, RecursionError):
            return _of_name(path.name) or "?"
    else:
        for line in lines:
            if line.startswith("#fields"):
                columns = {*line.split("\t")}
    return next((name for name, marked in marks.items() if marked <= columns), "?")


def _of_name(name: str) -> str:
    """What a log is by its name."""
    found = re.fullmatch(r"(mmtt|mmtt_incidents|conn)([.-].+)?\.log(\.gz|\.zst)?", name)
    return found[1] if found else ""


def _beside(found: Inputs) -> None:
    """Add what lies beside the logs of verdicts that were named and was rotated with them: incidents, connections."""
    for name, there in (("mmtt_incidents", found.incidents), ("conn", found.connections)):
        known = {path.resolve() for path in there}
        for path in found.windows:
            if not path.name.startswith("mmtt"):
                continue
            rest = re.sub(r"(\.log)(\.gz|\.zst)?$", r"\1", path.name[len("mmtt") :])
            others = (path.with_name(f"{name}{rest}{packed}") for packed in ("", ".gz", ".zst"))
            other = next((each for each in others if each.is_file()), None)
            if other and other.resolve() not in known:
                known.add(other.resolve())
                there.append(other)
                found.beside.add(other)
