"""Which captures a command line names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..capture.directory import below

#: How standard input is called.
STDIN = "standard input"


@dataclass
class Sources:
    """What was found.

    Attributes:
        captures: each once, in the order of the command line, directories' sorted; None is standard input.
        problems: a line for each thing that was named, or is there, and can't be read.
        notes: lines on what was passed over on purpose.
        several: rows may come of more than one capture, by what was named, whatever is there.
    """

    captures: list[Path | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    several: bool = False


def called(path: Path | None) -> str:
    """A capture's name, for messages and rows."""
    return STDIN if path is None else str(path)


def expand(arguments: Iterable[str]) -> Sources:
    """What ``arguments`` name: files as they are, directories with all below them, "-"."""
    found = Sources()
    named: list[Path | None] = []
    for number, argument in enumerate(arguments):
        found.several |= number > 0
        if argument == "-":
            named.append(None)
        elif not argument:
            found.problems.append("'': the name of a capture is empty; is a variable not set?")
        else:
            path = Path(argument)
            try:
                is_directory = stat.S_ISDIR(path.stat().st_mode)
            except OSError as error:
                found.problems.append(f"{path}: {error.strerror}")
                continue
            if is_directory:
                found.several = True
                inside = below(path)
                named += inside.captures
                found.problems += inside.problems
                found.notes += inside.notes
            else:
                named.append(path)
    found.captures = _once(named, found)
    return found


def _file(path: Path) -> str | None:
    """The same text for the same file; None for what is no file."""
    if not os.path.isfile(path):
        return None
    try:
        return os.path.realpath(path)
    except OSError:
        return str(path)  # the working directory has been deleted: that can be read, but has no name


def _once(named: list[Path | None], found: Sources) -> list[Path | None]:
    """Each file once, whatever ways lead to it: its flows would be counted twice."""
    kept: dict[str | None, Path | None] = {}
    again: list[str] = []
    for place, path in enumerate(named):
        # A pipe may well bring another capture when it is opened again.
        key = None if path is None else _file(path) or f"{place}:{path}"
        if key in kept:
            again.append(called(path))
        else:
            kept[key] = path
    if len(again) == 1:
        found.notes.append(f"{again[0]}: named more than once, read once")
    elif again:
        found.notes.append(f"{len(again):,} captures are named more than once and read once, the first {again[0]}")
    return list(kept.values())
