"""How far ``mmtt classify`` is: a bar on a terminal's standard error, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..output import shown


class Progress(Protocol):
    """What is told of each capture, by its number from 1 and its name."""

    def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
        """``read`` bytes of the file are read, of ``size`` if that is known, and in them were ``packets``."""

    def classifying(self, number: int, name: str, done: int, windows: int) -> None:
        """``done`` of its ``windows`` have their verdicts."""


class _Silent:
    def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
        pass

    def classifying(self, number: int, name: str, done: int, windows: int) -> None:
        pass


@contextmanager
def progress(captures: int) -> Iterator[Progress]:
    """Show it while the block under it runs.

    Args:
        captures: how many there will be.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    class Shown:
        def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
            of = f"/{decimal(size)}" if size else ""
            self._show(number, name, size, read, f"{decimal(read)}{of}, {packets:,} packets")

        def classifying(self, number: int, name: str, done: int, windows: int) -> None:
            self._show(number, name, windows, done, f"{done:,} of {windows:,} verdicts")

        def _show(self, number: int, name: str, total: int | None, completed: int, text: str) -> None:
            which = f" ({number}/{captures})" if captures > 1 else ""
            bar.update(task, total=total, completed=completed, name=shown(name), which=which, text=text)

    # Names are as their makers liked: none of rich's markup in them, and not the whole screen for one.
    columns = (
        TextColumn(
            "{task.fields[name]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        ),
        TextColumn("{task.fields[which]}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(20),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True)),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False, expand=True) as bar:
        task = bar.add_task("", total=None, name="", which="", text="")
        yield Shown()
