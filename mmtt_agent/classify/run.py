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
# What a user would miss; other protocols than TCP and UDP are none of it.
_LEFT_OUT = {
    "truncated_link_header": "cut short",
    "truncated_ip": "cut short inside the IP header",
    "truncated_header": "cut short inside the TCP or UDP header",
    "cut_fragment": "fragments cut short",
    "bad_ip_header": "with a damaged IP header",
    "bad_tcp_header": "with a damaged TCP header",
    "bad_tunnel": "with a damaged tunnel header",
    "nested_too_deep": "in too many tunnels",
}
_WRONG = ("bad_ip_checksum", "bad_tcp_checksum", "bad_udp_checksum")


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
        How many captures could not be read.
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
        for warning in capture.warnings:
            say(f"mmtt: {warning}")
        if text := left_out(capture.counts):
            say(f"mmtt: {name}: {text}")
        for row in rows(capture, classifier):
            write(row)
    return problems


def left_out(counts: dict[str, int]) -> str:
    """What was left out of a capture, as text; empty if nothing that carries TCP or UDP was."""
    parts = [f"{counts[cause]:,} {text}" for cause, text in _LEFT_OUT.items() if counts.get(cause)]
    wrong = sum(counts.get(cause, 0) for cause in _WRONG)
    if wrong:
        parts.append(f"{wrong:,} with a wrong checksum (-C takes them)")
    return f"left out of {counts['packets']:,} packets: {', '.join(parts)}" if parts else ""


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
