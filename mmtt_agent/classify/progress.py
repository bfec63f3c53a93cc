"""How far ``mmtt classify`` is: a bar on a terminal's standard error, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

from ..output import shown

# Seconds between two pictures of it.
_EVERY = 0.1


class Progress(Protocol):
    """What is told of each capture, by its number from 1 and its name."""

    def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
        """``read`` bytes of the file are read, of ``size`` if that is known, and in them were ``packets``."""

    def classifying(self, number: int, name: str, done: int, windows: int) -> None:
        """``done`` of its ``windows`` have their verdicts."""

    def counting(self, number: int, name: str, what: str, done: int) -> None:
        """``done`` of ``what`` are there, of nobody knows how many."""


class _Silent:
    def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
        pass

    def classifying(self, number: int, name: str, done: int, windows: int) -> None:
        pass

    def counting(self, number: int, name: str, what: str, done: int) -> None:
        pass


@contextmanager
def progress(files: int) -> Iterator[Progress]:
    """Show it while the block under it runs.

    Args:
        files: how many captures, or other things with a name, there will be.
    """
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    class Shown:
        def __init__(self) -> None:
            self._task: TaskID | None = None
            self._stage = (0, "")

        def reading(self, number: int, name: str, size: int | None, read: int, packets: int) -> None:
            of = f"/{decimal(size)}" if size else ""
            self._show(number, name, "bytes", read, size, f"{decimal(read)}{of}, {packets:,} packets")

        def classifying(self, number: int, name: str, done: int, windows: int) -> None:
            self._show(number, name, "verdicts", done, windows, f"{done:,} of {windows:,} verdicts")

        def counting(self, number: int, name: str, what: str, done: int) -> None:
            self._show(number, name, what, done, None, f"{done:,} {what}" if done else what)

        def _show(self, number: int, name: str, what: str, done: int, total: int | None, text: str) -> None:
            if self._task is None or self._stage != (number, what):
                # A new one, as the seconds that are left are told from how fast the same thing went on.
                if self._task is not None:
                    bar.remove_task(self._task)
                which = f" ({number}/{files})" if files > 1 else ""
                self._task = bar.add_task("", total=total or None, name=shown(name), which=which, text=text)
                self._stage = number, what
            bar.update(self._task, completed=done, text=text)

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
    console = Console(stderr=True)
    bar = Bar(*columns, console=console, transient=True, redirect_stdout=False, expand=True, auto_refresh=False)
    with bar, _again_and_again(bar.refresh):
        yield Shown()


@contextmanager
def _again_and_again(draw: Callable[[], None]) -> Iterator[None]:
    """Call it some times a second. rich has a thread for that, but does not wait for its end: one that still held
    standard error when the interpreter ended would bring it down (SIGABRT)."""
    over = Event()

    def go_on() -> None:
        while not over.wait(_EVERY):
            draw()

    drawing = Thread(target=go_on, name="progress")
    drawing.start()
    try:
        yield
    finally:
        over.set()
        drawing.join()
