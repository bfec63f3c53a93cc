"""What each of several processes that read a directory's captures has."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .sources import Entry, TableSource
from .taxonomy import Taxonomy

_Part = TypeVar("_Part")


class Process:
    """Of this process."""

    source: TableSource


def of_captures(
    source: TableSource,
    part: Callable[[Entry], _Part | None],
    jobs: int,
    what: str,
    every: int,
    say: Callable[[str], None],
) -> tuple[list[_Part], int]:
    """What ``part`` makes of each capture with labels, in their order, without None, and how many captures there are.

    Args:
        what: is read, and told of after ``every`` so many.
    """
    entries = [entry for entry in source.entries() if entry.labelled and not entry.series]
    parts: list[_Part] = []
    with multiprocessing.get_context("spawn").Pool(jobs, _begin, (source.directory, source.taxonomy)) as pool:
        for done, found in enumerate(pool.imap(part, entries, 20), 1):
            if found is not None:
                parts.append(found)
            if done % every == 0:
                say(f"reading captures for {what}: {done:,} of {len(entries):,}")
    return parts, len(entries)


def _begin(directory: Path, taxonomy: Taxonomy) -> None:
    """Where a process begins: each makes the tables anew, which takes less than to be handed them."""
    Process.source = TableSource(directory, taxonomy)
