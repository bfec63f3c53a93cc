"""What each of several processes that read a directory's captures has."""

from __future__ import annotations

from pathlib import Path

from .sources import TableSource
from .taxonomy import Taxonomy


class Process:
    """Of this process."""

    source: TableSource


def begin(directory: Path, taxonomy: Taxonomy) -> None:
    """Where a process begins: each makes the tables anew, which takes less than to be handed them."""
    Process.source = TableSource(directory, taxonomy)
