"""Captures in, rows out."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from .. import whole
from ..capture import Capture, CaptureError, read_capture
from ..classifier import Classifier
from ..incidents import Tracker
from ..record import Batch
from ..sinks import Sink
from .eve import EveWriter
from .log import INCIDENTS, ROWS, ROWS_WITH_COMMUNITY_ID, JsonWriter, Log, TsvWriter
from .progress import Progress
from .row import IncidentRow, Row
from .rows import rows
from .sources import STDIN, called

# Names of the files that are written into a directory.
_LOGS = tuple(f"{log.name}.log" for log in (ROWS, INCIDENTS))
EVE = "eve.json"
#: What takes what is found.
Write = Callable[[Row | IncidentRow], None]


def classify(
    captures: Sequence[Path | None],
    classifier: Classifier,
    write: Write,
    progress: Progress,
    say: Callable[[str], None],
    checksums: bool = True,
    remember: Callable[[Batch], None] | None = None,
    seed: int | None = None,
) -> tuple[int, int]:
    """Write the rows of all captures, and the incidents among them, one capture after the other; a capture that fails
    gives no row.

    Args:
        captures: None is standard input.
        say: takes the lines for standard error: what can't be read, and what of a capture was left out.
        checksums: leave out packets with a wrong checksum, as Zeek does.
        remember: takes the windows that have a verdict.
        seed: of community IDs; None: rows have none.

    Returns:
        How many captures were read, and how many could not be, or not without loss. One that is damaged before the
        first window is not read.
    """
    read = problems = 0
    for number, path in enumerate(captures, 1):
        name = called(path)
        reading = partial(progress.reading, number, name, _size(path))
        reading(0, 0)
        try:
            capture = _read(path, reading, checksums)
        except (CaptureError, OSError, MemoryError) as error:
            say(wrong(name, error))
            problems += 1
            continue
        for line in (*capture.problems, *capture.warnings):
            say(line)
        if text := capture.left_out:
            say(f"{name}: {text}")
        problems += bool(capture.problems)
        # A capture stands for itself, and so does what is found in it.
        tracker = Tracker(classifier.bundle.incidents) if classifier.bundle.incidents else None
        classifying = partial(progress.classifying, number, name)
        for row in rows(capture, name, classifier, tracker, classifying, remember, seed):
            write(row)
        read += not capture.problems or len(capture.windows) > 0
    return read, problems


def wrong(name: str, error: Exception) -> str:
    """Why a capture can't be read."""
    if isinstance(error, MemoryError):
        return f"{name}: too large for this machine's memory; cut it in parts with: editcap -c 10000000"
    if isinstance(error, OSError):
        return f"{name}: can't be read: {error.strerror or error}"
    return str(error)


def _read(path: Path | None, progress: Callable[[int, int], None], checksums: bool) -> Capture:
    if path is not None:
        return read_capture(path, name=called(path), progress=progress, checksums=checksums)
    if sys.stdin is None:
        raise CaptureError(f"{STDIN}: closed; pipe a capture in")
    return read_capture(sys.stdin.buffer, name=STDIN, progress=progress, checksums=checksums)


def _size(path: Path | None) -> int | None:
    """Bytes, where that can be told: of a file that is still there."""
    with suppress(OSError):
        if path is not None and stat.S_ISREG((about := path.stat()).st_mode):
            return about.st_size
    return None


def files(form: str, directory: Path) -> list[Path]:
    """The files that are written into ``directory``."""
    return [directory / name for name in ((EVE,) if form == "eve" else _LOGS)]


@contextmanager
def destination(
    form: str,
    directory: Path | None,
    flows: int,
    several: bool,
    incidents: bool,
    finds_incidents: bool,
    sink: Sink | None = None,
    ids: bool = False,
) -> Iterator[Write]:
    """What takes the rows: a table, a sink, lines on standard output, or the logs in ``directory``.

    Args:
        form: "table", "tsv", "json" or "eve".
        flows: connections in the table.
        several: rows say which capture they come of.
        incidents: on standard output, or for the sink, incidents instead of rows.
        finds_incidents: the bundle does.
        sink: takes events of EVE.
        ids: logs have a column for the community ID.

    Raises:
        OSError: the logs can't be written. All are complete or not there at all, also when the block under it fails.
    """
    of_rows = ROWS_WITH_COMMUNITY_ID if ids else ROWS
    if form == "table":
        from rich.console import Console

        from . import table

        kept: tuple[list[Row], list[IncidentRow]] = [], []
        yield lambda row: kept[isinstance(row, IncidentRow)].append(row)  # type: ignore[arg-type]
        if not incidents:
            table.show(Console(), kept[0], flows, several)
        table.show_incidents(Console(), kept[1] if finds_incidents else None, several)
    elif sink:
        write_event = EveWriter(sink.write).write
        yield lambda row: write_event(row) if isinstance(row, IncidentRow) or not incidents else None
        sink.flush()
    elif directory is None:
        # The log's encoding is Zeek's, whatever the locale's is.
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        with _writer(form, sys.stdout, INCIDENTS if incidents else of_rows, several) as write:
            yield lambda row: write(row) if isinstance(row, IncidentRow) == incidents else None
        sys.stdout.flush()
    else:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory)) from None
        if form == "eve":
            with whole.written_together(*files(form, directory)) as (out,):
                yield EveWriter(out.buffer.write).write
            return
        with (
            whole.written_together(*files(form, directory)) as (out, out_incidents),
            _writer(form, out, of_rows, several) as write_row,
            _writer(form, out_incidents, INCIDENTS, several) as write_incident,
        ):
            yield lambda row: write_incident(row) if isinstance(row, IncidentRow) else write_row(row)


@contextmanager
def _writer(form: str, out: TextIO, log: Log, several: bool) -> Iterator[Callable[[Row | IncidentRow], None]]:
    writer = (TsvWriter if form == "tsv" else JsonWriter)(out, log, several)
    yield writer.write
    writer.close()
