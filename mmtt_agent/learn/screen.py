"""What learning brought, as a table at a terminal and as lines of tabs elsewhere."""

from __future__ import annotations

import sys

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..output import shown
from ..site import TASKS
from .card import by_label
from .teach import Taught

#: Labels of a task in the table; the card has them all.
_LABELS = 15
_COLUMNS = ("task", "label", "windows", "f1_before", "f1_now")


def taught(found: Taught) -> None:
    """Print it: by task, and by label; on standard error what is not in that."""
    _table(found)
    for task, learnt in found.fitted.windows.items():
        if unmeasured := len({*learnt} - {*found.before[task].of}):
            click.echo(
                f"mmtt: {unmeasured} more labels of {task} are learnt, with too few later windows to measure them by",
                err=True,
            )
    for label, before, after in found.lost:
        click.echo(shown(f"mmtt: {label} is named much worse: F1 {before:.2f} before, {after:.2f} now"), err=True)


def _table(found: Taught) -> None:
    rows = []
    for task in TASKS:
        before, after = found.before[task], found.after[task]
        rows.append((task, "(macro)", before.windows, before.macro_f1, after.macro_f1))
        rows += [(task, *each) for each in by_label(before, after)]
    if not sys.stdout.isatty():
        click.echo("\t".join(_COLUMNS))
        for task, label, windows, first, second in rows:
            click.echo(f"{task}\t{shown(label)}\t{windows}\t{first:.4f}\t{second:.4f}")
        return
    table = Table(box=box.SIMPLE, title="named as Zeek names them, on later windows than those learnt from")
    for name in ("task", "label"):
        table.add_column(name)
    for name in ("windows", "F1 before", "F1 now"):
        table.add_column(name, justify="right")
    count: dict[str, int] = {}
    for task, label, windows, first, second in rows:
        count[task] = count.get(task, -1) + 1
        if count[task] > _LABELS:
            continue
        table.add_row(task, Text(shown(label)), f"{windows:,}", f"{first:.2f}", f"{second:.2f}")
    Console().print(table)
    for task, number in count.items():
        if number > _LABELS:
            click.echo(f"{number - _LABELS} more labels of {task} are in the card", err=True)
