"""Captures in, rows out."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ..capture import CaptureError, read_capture
from ..classifier import Classifier
from .log import JsonWriter, TsvWriter
from .rows import Row, rows

_WRITERS = {"tsv": TsvWriter, "json": JsonWriter}
_LOG = "mmtt.log"


def classify(
    paths: list[Path | None],
    classifier: Classifier,
    write: Callable[[Row], None],
    progress: Callable[[int, str, int | None, int, int], None] | None,
    say: Callable[[str], None],
    checksums: bool = True,
) -> int:
    """Write the rows of all captures, one capture after the other; a capture that fails gives no row.

    Args:
        paths: captures; None is standard input.
        progress: called with the capture's number from 1, its name, its size in bytes if known, bytes and packets read.
        say: takes the lines for standard error: what can't be read, and what of a capture was left out.
        checksums: leave out packets with a wrong checksum, as Zeek does.

    Returns:
        How many captures could not be read, or not without loss.
    """
    problems = 0
    for number, path in enumerate(paths, 1):
        name = "standard input" if path is None else str(path)
        total = path.stat().st_size if path else None
        count = partial(progress, number, name, total) if progress else None
        try:
            source = sys.stdin.buffer if path is None else path
            capture = read_capture(source, name=name, progress=count, checksums=checksums)
        except CaptureError as error:
            say(f"mmtt: {error}")
            problems += 1
            continue
        for line in capture.problems + capture.warnings:
            say(f"mmtt: {line}")
        if text := capture.left_out:
            say(f"mmtt: {name}: {text}")
        problems += bool(capture.problems)
        for row in rows(capture, classifier):
            write(row)
    return problems


@contextmanager
def destination(form: str, directory: Path | None, flows: int) -> Iterator[Callable[[Row], None]]:
    """What takes the rows: a table, lines on standard output, or ``mmtt.log`` in ``directory``.

    Args:
        form: "table", "tsv" or "json".
        flows: connections in the table.

    Raises:
        OSError: the log can't be written. It is complete or not there at all, also when the block under it fails.
    """
    if form == "table":
        from rich.console import Console

        from . import table

        kept: list[Row] = []
        yield kept.append
        table.show(Console(), kept, flows)
    elif directory is None:
        writer = _WRITERS[form](sys.stdout)
        yield writer.write
        writer.close()
    else:
        directory.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{_LOG}.", dir=directory)
        try:
            with open(handle, "w", encoding="utf-8") as out:
                writer = _WRITERS[form](out)
                yield writer.write
                writer.close()
            # mkstemp makes files that only their owner may read; a log is as readable as the others.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, directory / _LOG)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
