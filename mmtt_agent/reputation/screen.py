"""Who is listed, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..output import shown, utc
from .entries import Entry


def listed(entries: Sequence[Entry]) -> None:
    """A row each."""
    console = Console()
    if not entries:
        console.print(Text("nobody is listed", "bold green"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify = f"{len(entries):,} {'address' if len(entries) == 1 else 'addresses'}", "left"
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("address", overflow="fold")
    table.add_column("kind", overflow="fold")
    table.add_column("latest (UTC)", no_wrap=True)
    table.add_column("why", overflow="fold")
    for entry in entries:
        uids = f"\n{', '.join(entry.uids)}" if entry.uids else ""
        table.add_row(
            Text(f"{entry.score:.3f}", "bold red"),
            Text(shown(entry.address)),
            Text(shown(entry.kind.replace("_", " "))),
            utc(entry.last / 1e6, "%Y-%m-%d %H:%M"),
            Text.assemble(shown(entry.why), (uids, "dim")),
        )
    console.print(table)
