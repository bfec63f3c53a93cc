"""``mmtt dataset build``: every window of a source's captures as Parquet, made in parallel, taken up again where it
stopped.

A directory of it holds ``windows/NNNNN.parquet``, a row per window, and ``dataset.yaml``, written last. Until all is
made, files of rows are in ``.windows.new``, and what an earlier run has finished stays as it was. Columns:
capture, origin, site, labelled (whether the capture has labels), window (index in its connection), timed (whether its
times are known), sizes (bytes of payload, negative from the responder), times (µs since the window's first packet),
service, application, malicious, kind (null where not known), service_by, application_by (what these come from: name,
protocol, capture), transport, and key, which is the same for windows with the same sizes and times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml

from mmtt_agent import __version__
from mmtt_agent.series import SeriesBatch

from .errors import DatasetError
from .labels import EVIDENCE, Labels
from .rows import CaptureRows, read_rows
from .sources import Entry, Source

#: Captures in one file of rows: what a run that was stopped may lose.
_PER_FILE = 50
_FORMAT = 5
#: Names of files of rows; others in their directory are somebody else's.
_PART = "[0-9]" * 5 + ".parquet"
#: Where files of rows are until all are made.
_NEW = ".windows.new"
#: Captures, the file for their rows, and what these are made of.
_Task = tuple[list[Entry], Path, str]
#: Columns that are the fields of `Labels`.
_LABELS = tuple(each.name for each in dataclasses.fields(Labels))


def build(source: Source, out: Path, jobs: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Read all captures of ``source`` with ``jobs`` processes. Returns the report that dataset.yaml holds.

    Raises:
        DatasetError: the source or what is in ``out`` can't be used.
    """
    _parquet()
    entries = source.entries()
    made_of = hashlib.sha256(f"{_FORMAT} {__version__} {source.digest()}".encode()).hexdigest()
    folder, new = out / "windows", out / _NEW
    parts = [entries[start : start + _PER_FILE] for start in range(0, len(entries), _PER_FILE)]
    paths = [folder / f"{number:05}.parquet" for number in range(len(parts))]
    # Until all is made, what an earlier run has finished stays as it is.
    ready = [path if _made_of(path) == made_of else new / path.name for path in paths]
    to_do = [number for number, path in enumerate(ready) if path != paths[number] and _made_of(path) != made_of]
    if len(to_do) < len(parts):
        say(f"{out}: {len(parts) - len(to_do)} of {len(parts)} files of windows are there already")
    before = [path for path in (out, *out.parents) if not path.exists()]
    new.mkdir(parents=True, exist_ok=True)
    try:
        report = _made(source, [(parts[number], ready[number], made_of) for number in to_do], entries, ready, jobs, say)
    except BaseException:
        # Nothing is left of a run that made nothing.
        with contextlib.suppress(OSError):
            for path in (new, *before):
                path.rmdir()
        raise
    folder.mkdir(exist_ok=True)
    others = {path for path in folder.glob(_PART) if path not in paths}
    if ready != paths or others:
        (out / "dataset.yaml").unlink(missing_ok=True)
    for path, target in zip(ready, paths, strict=True):
        if path != target:
            os.replace(path, target)
    for path in (*others, *new.iterdir()):
        path.unlink()
    new.rmdir()
    about = out / ".dataset.yaml.new"
    about.write_text(
        yaml.safe_dump({"format": _FORMAT, "made_of": made_of, **report}, sort_keys=False, allow_unicode=True)
    )
    os.replace(about, out / "dataset.yaml")
    return report


def _made(
    source: Source, tasks: list[_Task], entries: list[Entry], paths: list[Path], jobs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Do what is to be done, and tell of all ``paths``. Raises DatasetError if no capture could be read."""
    with multiprocessing.get_context("spawn").Pool(min(jobs, max(1, len(tasks))), _begin, (source,)) as pool:
        for done, _ in enumerate(pool.imap_unordered(_make, tasks), 1):
            say(f"reading captures: {done * _PER_FILE if done < len(tasks) else len(entries):,} of {len(entries):,}")
    report = _report(paths)
    # One that is read has windows, if only some that are too short.
    if len(report["unreadable"]) == len(entries) and not report["windows"].get("windows"):
        for path in paths:
            if path.parent.name == _NEW:
                path.unlink()
        raise DatasetError(
            f"none of {len(entries):,} captures could be read; mend them or the manifest; the first: "
            f"{report['unreadable'][0]}"
        )
    return report


class _Found:
    """What there is of one class."""

    def __init__(self) -> None:
        self.labels, self.sites = 0, set[str]()
        self.by: Counter[str] = Counter()

    def count(self, site: str, by: str) -> None:
        self.labels += 1
        self.sites.add(site)
        self.by[by] += 1

    def told(self) -> dict[str, int]:
        return {"labels": self.labels, "sites": len(self.sites), **{by: self.by[by] for by in EVIDENCE}}


def is_built(directory: Path) -> bool:
    """Whether `mmtt dataset build` has finished there."""
    return (directory / "dataset.yaml").exists()


def built_digest(directory: Path) -> str:
    """Changes with what was built there. Raises DatasetError."""
    try:
        return str(yaml.safe_load((directory / "dataset.yaml").read_text())["made_of"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise DatasetError(
            f"{directory / 'dataset.yaml'}: damaged; type the `mmtt dataset build` command again"
        ) from None


def read_built(directory: Path) -> Iterator[CaptureRows]:
    """The captures that were built there, in their order. Raises DatasetError."""
    for path in sorted((directory / "windows").glob(_PART)):
        yield from _read(path)


class _Process:
    """What one of the processes has. Once a process: what a source has read of its tables stays with it."""

    source: Source


def _begin(source: Source) -> None:
    _Process.source = source


def _make(task: _Task) -> None:
    entries, path, made_of = task
    _write([read_rows(_Process.source, entry) for entry in entries], path, made_of)


def _write(captures: list[CaptureRows], path: Path, made_of: str) -> None:
    arrow, parquet = _parquet()
    columns: dict[str, list[object]] = {
        name: []
        for name in (
            "capture",
            "origin",
            "site",
            "labelled",
            "window",
            "timed",
            "sizes",
            "times",
            *_LABELS,
            "key",
        )
    }
    for rows in captures:
        for row, label in enumerate(rows.labels):
            length = int(rows.series.lengths[row])
            sizes, times = rows.series.sizes[row, :length], rows.series.times[row, :length]
            key = hashlib.blake2b(
                sizes.astype("<i8").tobytes() + times.astype("<i8").tobytes(), digest_size=8
            ).hexdigest()
            for name, value in zip(
                columns,
                (
                    rows.entry.name,
                    rows.entry.origin,
                    rows.entry.left_out_with,
                    rows.entry.labelled,
                    int(rows.window[row]),
                    bool(rows.timed[row]),
                    sizes,
                    times,
                    *dataclasses.astuple(label),
                    key,
                ),
                strict=True,
            ):
                columns[name].append(value)
    schema = arrow.schema([
        ("capture", arrow.string()), ("origin", arrow.string()), ("site", arrow.string()), ("labelled", arrow.bool_()),
        ("window", arrow.uint8()), ("timed", arrow.bool_()), ("sizes", arrow.list_(arrow.int32())),
        ("times", arrow.list_(arrow.int64())), ("service", arrow.string()), ("application", arrow.string()),
        ("malicious", arrow.bool_()), ("kind", arrow.string()), ("service_by", arrow.string()),
        ("application_by", arrow.string()), ("transport", arrow.uint8()), ("key", arrow.string())])  # fmt: skip
    about = [
        {
            "entry": dataclasses.asdict(rows.entry) | {"path": str(rows.entry.path)},
            "rows": len(rows.labels),
            "counts": rows.counts,
            "error": rows.error,
        }
        for rows in captures
    ]
    table = arrow.table(columns, schema=schema).replace_schema_metadata(
        {"made_of": made_of, "captures": json.dumps(about)}
    )
    new = path.with_name(f".{path.name}.new")
    parquet.write_table(table, new, compression="zstd")
    os.replace(new, path)


def _read(path: Path) -> Iterator[CaptureRows]:
    arrow, parquet = _parquet()
    try:
        table = parquet.read_table(path)
        captures = json.loads(table.schema.metadata[b"captures"])
    except (OSError, arrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: damaged ({error}); remove it and type the `mmtt dataset build` command again"
        ) from None
    columns = {name: table.column(name).to_pylist() for name in ("window", "timed", "sizes", "times", *_LABELS)}
    start = 0
    for about in captures:
        part = slice(start, start := start + about["rows"])
        labels = [Labels(*values) for values in zip(*(columns[name][part] for name in _LABELS), strict=True)]
        entry = Entry(**about["entry"] | {"path": Path(about["entry"]["path"])})
        yield CaptureRows(
            entry,
            SeriesBatch.from_lists(columns["sizes"][part], columns["times"][part]),
            np.array(columns["window"][part], np.uint8),
            np.array(columns["timed"][part], bool),
            labels,
            about["counts"],
            about["error"],
        )


def _made_of(path: Path) -> str:
    if not path.exists():
        return ""
    arrow, parquet = _parquet()
    try:
        made_of: bytes = parquet.read_schema(path).metadata[b"made_of"]
        return made_of.decode()
    except (OSError, arrow.ArrowException, KeyError, TypeError):
        return ""


def _report(paths: list[Path]) -> dict[str, Any]:
    """What was kept, and what was not and why."""
    counts: Counter[str] = Counter()
    found: dict[str, dict[str, _Found]] = {"services": {}, "applications": {}, "kinds": {}}
    origins: Counter[str] = Counter()
    unreadable, captures = [], 0
    for path in paths:
        for rows in _read(path):
            captures += 1
            origins[rows.entry.origin] += 1
            counts.update(rows.counts)
            counts["kept"] += len(rows.labels)
            counts["labelled"] += sum(map(bool, rows.labels))
            counts["malicious"] += sum(label.malicious is True for label in rows.labels)
            counts["harmless"] += sum(label.malicious is False for label in rows.labels)
            site = rows.entry.left_out_with
            for label in rows.labels:
                for kind, name, by in (
                    ("services", label.service, label.service_by),
                    ("applications", label.application, label.application_by),
                    ("kinds", label.kind, "capture"),
                ):
                    if name:
                        found[kind].setdefault(name, _Found()).count(site, by)
            if rows.error:
                unreadable.append(rows.error)
    return {
        "captures": captures,
        "unreadable": unreadable,
        "windows": dict(counts),
        "origins": dict(origins.most_common()),
        **{
            kind: {
                name: each.told() for name, each in sorted(names.items(), key=lambda item: (-item[1].labels, item[0]))
            }
            for kind, names in found.items()
        },
    }


def _parquet() -> tuple[ModuleType, ModuleType]:
    """pyarrow and its parquet. Raises DatasetError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DatasetError("Parquet needs pyarrow, which is not installed; type: pip install 'mmtt[train]'") from None
    return pyarrow, parquet
