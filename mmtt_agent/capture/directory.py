"""The captures below a directory, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What files in a directory must end in to be read as captures; a rotation's have a number or a time after the kind.
KINDS = (".pcap", ".pcapng", ".cap", ".dmp")
SUFFIXES = tuple(f"{kind}{packed}" for kind in KINDS for packed in ("", ".gz", ".zst", ".lz4"))
# log.pcap.1764304002, log.pcap.3.1764304002.123456.lz4, x.pcap12, x-2026-11-28_04.13.pcap
_NAME = re.compile(r"\.(pcap|pcapng|cap|dmp)([._-]?[\d._:T-]*\d)?(\.(gz|zst|lz4))?$", re.IGNORECASE)


def is_capture(name: str) -> bool:
    """Whether a file in a directory is one, by its name."""
    return _NAME.search(name) is not None


@dataclass
class Below:
    """What was found.

    Attributes:
        captures: sorted.
        problems: a line for each thing that can't be searched or read; one if there is no capture.
        notes: lines on what was passed over on purpose.
    """

    captures: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def below(directory: Path) -> Below:
    """The captures in a directory and those below it. Raises nothing: what can't be reached is a problem."""
    found = Below()
    found.captures = sorted(_walk(directory, found))
    if not found.captures and not found.problems:
        found.problems.append(f"{directory}: no captures in this directory (looked for names in {', '.join(KINDS)})")
    return found


def _walk(directory: Path, found: Below) -> Iterator[Path]:
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as inside:
                entries = sorted(inside, key=lambda entry: entry.name)
        except OSError as error:
            found.problems.append(f"{here}: can't be searched for captures: {error.strerror}")
            continue
        for entry in entries:
            path, ours = here / entry.name, is_capture(entry.name)
            try:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif entry.is_symlink() and entry.is_dir():
                    # It may lead anywhere, also back to where it is.
                    found.notes.append(f"{path}: a link to a directory, not followed; name it to have it read")
                elif ours and entry.is_file():
                    yield path
                elif ours and entry.is_symlink() and not path.exists():
                    found.problems.append(f"{path}: a link that leads nowhere")
                elif ours:
                    found.problems.append(f"{path}: not a file; name it to have it read")
            except OSError as error:
                # What may be a directory could hold captures; a link, by whatever name, would not be followed to them.
                if ours or not entry.is_symlink():
                    found.problems.append(f"{path}: {error.strerror}")
