"""Which captures a command line names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: What files in a directory must end in to be read as captures.
SUFFIXES = tuple(f"{kind}{packed}" for kind in (".pcap", ".pcapng", ".cap", ".dmp") for packed in ("", ".gz", ".zst"))


class SourceError(Exception):
    """An argument that names no capture; one line."""


def expand(arguments: Iterable[str]) -> list[Path | None]:
    """The files that ``arguments`` name: files as they are, directories' captures sorted, "-" as None.

    Raises:
        SourceError: an argument does not exist, or is a directory without captures.
    """
    found: list[Path | None] = []
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            found.append(None)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.name.lower().endswith(SUFFIXES) and p.is_file())
            if not inside:
                raise SourceError(
                    f"{path}: no captures in this directory (looked for names in {', '.join(SUFFIXES[::3])})"
                )
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise SourceError(f"{path}: no such file or directory")
    return found
