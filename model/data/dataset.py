"""The data set: labelled windows with their labels, split by recording, as arrays in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmtt_agent import __version__
from mmtt_agent.series import SeriesBatch

from .build import built_digest, is_built, read_built
from .errors import DatasetError
from .labels import MISSING, Labels, Taxonomy, agreed
from .rows import CaptureRows, read_rows
from .sources import Entry, TableSource
from .split import SPLITS, digest, equal_windows, recordings, split_recordings

#: Changes with every change of what a cached data set holds.
CACHE_VERSION = 6
#: Windows of one capture, by its index: what they are, their numbers in their connections, their labels.
_Part = tuple[int, SeriesBatch, np.ndarray, list[Labels]]


@dataclass(frozen=True)
class Selection:
    """What of the captures becomes the data set.

    Attributes:
        min_captures: captures that a service or an application must occur in to be kept.
        max_windows: windows kept of one capture with the same labels, so that a scan does not count as a thousand
            flows.
        split_seed: freezes which capture is in which split.
        shares: of the captures in training, validation and test.
        lab_malicious: whether the traffic lab's windows teach what is malicious too, or services and applications
            alone.
    """

    min_captures: int = 6
    max_windows: int = 200
    split_seed: int = 1
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    lab_malicious: bool = False


@dataclass
class Dataset:
    """``n`` labelled windows.

    Attributes:
        series: their sizes and times.
        window: uint8 (n,), 0 for a connection's first window.
        service, application: int64 (n,), index into ``services`` and ``applications``, MISSING where not known.
        malicious: int64 (n,), 1, 0 or MISSING.
        capture: int64 (n,), index into ``captures`` (paths) and ``sources`` (the repository of each).
        recording: int64 (n,), the first of the captures that are copies or cuts of the same recording.
        split: int64 (n,), index into SPLITS; the same for all windows of a recording.
        applications: name -> the services it can be.
        report: what was read, kept and dropped.
        unlabelled: windows without a label that are no part of a recording in validation or test, nor copies of such.
    """

    series: SeriesBatch
    window: np.ndarray
    service: np.ndarray
    application: np.ndarray
    malicious: np.ndarray
    capture: np.ndarray
    recording: np.ndarray
    split: np.ndarray
    services: list[str]
    applications: dict[str, list[str]]
    captures: list[str]
    sources: list[str]
    report: dict[str, Any]
    unlabelled: SeriesBatch = field(default_factory=SeriesBatch.empty)

    def __len__(self) -> int:
        return len(self.series)

    def targets(self) -> dict[str, np.ndarray]:
        """Labels by task."""
        return {"service": self.service, "application": self.application, "malicious": self.malicious}

    def classes(self, task: str) -> int:
        """How many answers a task has."""
        return {"service": len(self.services), "application": len(self.applications), "malicious": 2}[task]

    def digest(self) -> str:
        """Changes with everything that training sees."""
        digest = hashlib.sha256(repr((self.services, list(self.applications))).encode())
        arrays = (self.series.sizes, self.series.times, self.capture, self.split, *self.targets().values())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def rows(self, split: str) -> np.ndarray:
        """Indices of the windows in ``split``."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def save(self, path: Path, key: str) -> None:
        arrays = {
            name: getattr(self, name)
            for name in ("window", "service", "application", "malicious", "capture", "recording", "split")
        }
        about = {name: getattr(self, name) for name in ("services", "applications", "captures", "sources", "report")}
        new = path.with_name(f".{path.name}.new.npz")
        np.savez_compressed(
            new,
            sizes=self.series.sizes,
            times=self.series.times,
            lengths=self.series.lengths,
            more_sizes=self.unlabelled.sizes,
            more_times=self.unlabelled.times,
            more_lengths=self.unlabelled.lengths,
            about=np.array(json.dumps({**about, "key": key})),
            **arrays,
        )
        os.replace(new, path)

    @classmethod
    def load(cls, path: Path, key: str | None = None) -> Dataset | None:
        """The data set in ``path``, or None if there is none or it was made of something else than ``key`` says."""
        try:
            with np.load(path) as stored:
                arrays = dict(stored)
            about = json.loads(str(arrays.pop("about")))
        except (OSError, ValueError, KeyError):
            return None
        if about.pop("key") != key and key is not None:
            return None
        series, unlabelled = (
            SeriesBatch(*(arrays.pop(f"{which}{name}") for name in ("sizes", "times", "lengths")))
            for which in ("", "more_")
        )
        return cls(series=series, unlabelled=unlabelled, **arrays, **about)


def load_or_build(
    directory: Path,
    cache: Path,
    selection: Selection,
    say: Callable[[str], None],
    taxonomy: Taxonomy | None = None,
) -> Dataset:
    """The data set of ``directory``, kept in the file ``cache`` for the next time: what `mmtt dataset build` left
    there, or a directory of captures with tables.

    Raises:
        DatasetError: the directory does not hold what it must.
    """
    taxonomy = taxonomy or Taxonomy()
    parts: Callable[[], Iterator[CaptureRows]]
    if is_built(directory):
        parts, made_of = partial(read_built, directory), built_digest(directory)
    else:
        source = TableSource(directory, taxonomy)
        parts, made_of = partial(_read, source, say), source.digest()
    key = hashlib.sha256(
        repr((CACHE_VERSION, __version__, dataclasses.astuple(selection), taxonomy.digest, made_of)).encode()
    ).hexdigest()
    dataset = Dataset.load(cache, key)
    if dataset is None:
        dataset = choose(parts(), selection, taxonomy, directory, say)
        cache.parent.mkdir(parents=True, exist_ok=True)
        dataset.save(cache, key)
    else:
        say(f"{cache}: {len(dataset):,} windows from an earlier run")
    return dataset


def _read(source: TableSource, say: Callable[[str], None]) -> Iterator[CaptureRows]:
    entries, labelled = source.entries(), 0
    for index, entry in enumerate(entries):
        if index % 200 == 0:
            say(f"reading captures: {index:,} of {len(entries):,}, {labelled:,} labelled windows")
        rows = read_rows(source, entry)
        labelled += sum(label != Labels() for label in rows.labels)
        yield rows


def choose(
    captures: Iterable[CaptureRows],
    selection: Selection,
    taxonomy: Taxonomy,
    directory: Path,
    say: Callable[[str], None],
) -> Dataset:
    """Of all windows those with at least one label, not too many alike of one capture, without copies, split.

    Raises:
        DatasetError: there is none.
    """
    counts: Counter[str] = Counter()
    unreadable: list[str] = []
    entries: list[Entry] = []
    parts: list[_Part] = []
    others: list[tuple[int, SeriesBatch]] = []
    for index, rows in enumerate(captures):
        entries.append(rows.entry)
        counts.update(rows.counts)
        if rows.error:
            unreadable.append(rows.error)
        counts["captures without labels"] += not rows.entry.labelled
        labels: list[Labels] = []
        kept: list[int] = []
        taken: Counter[Labels] = Counter()
        for row in (
            _shuffled(len(rows.labels), f"{selection.split_seed} {rows.entry.name}") if rows.entry.labelled else ()
        ):
            label = rows.labels[row]
            if label == Labels():
                counts["without a label"] += 1
            elif taken[label] >= selection.max_windows:
                counts["beyond max_windows"] += 1
            else:
                taken[label] += 1
                labels.append(label)
                kept.append(row)
        counts["labelled"] += len(kept)
        without = [row for row, label in enumerate(rows.labels) if label == Labels()]
        if without:
            others.append((index, rows.series[np.array(without)]))
        if kept:
            chosen = np.array(kept)
            parts.append((index, rows.series[chosen], rows.window[chosen], labels))
    if not parts:
        raise DatasetError(f"{directory}: no labelled window in {len(entries)} captures; is it the right directory?")
    say(f"read {len(entries):,} captures: {', '.join(f'{n:,} {what}' for what, n in counts.items())}")
    dataset = _assemble(entries, parts, selection, taxonomy)
    dataset.unlabelled = _of_use(dataset, others)
    dataset.report |= {"counts": dict(counts), "unreadable": unreadable, "captures": len(entries)}
    return dataset


def _assemble(entries: list[Entry], parts: list[_Part], selection: Selection, taxonomy: Taxonomy) -> Dataset:
    """Join copies, turn labels into numbers, drop those that are too rare, and split."""
    series = SeriesBatch.concatenate([part[1] for part in parts])
    capture = np.concatenate([np.full(len(labels), index) for index, _, _, labels in parts])
    same = equal_windows(series)
    recording = recordings(same, capture)
    copied = len(np.unique(capture)) - len(np.unique(recording))
    every = [label for part in parts for label in part[3]]
    labels = [agreed([every[row] for row in rows]) for rows in same]
    rows = np.array([rows[0] for rows in same])
    window = np.concatenate([part[2] for part in parts]).astype(np.uint8)
    series, window, capture, recording = series[rows], window[rows], capture[rows], recording[rows]

    services_seen: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        if label.application and label.service:
            services_seen[label.application].add(label.service)
    service_captures, application_captures = _captures_per(labels, recording)
    services = [s for s in taxonomy.services if service_captures[s] >= selection.min_captures]
    applications: dict[str, list[str]] = {}
    for name in sorted(application_captures, key=str.lower):
        possible = sorted(set(taxonomy.services_of(name, services_seen[name])) & set(services))
        if possible and application_captures[name] >= selection.min_captures:
            applications[name] = possible
    order = list(applications)

    def number(name: str | None, among: list[str]) -> int:
        return among.index(name) if name in among else MISSING

    service = np.array([number(label.service, services) for label in labels], np.int64)
    application = np.array([number(label.application, order) for label in labels], np.int64)
    malicious = np.array([MISSING if label.malicious is None else label.malicious for label in labels], np.int64)
    useful = (service != MISSING) | (application != MISSING) | (malicious != MISSING)
    split = split_recordings(
        recording[useful],
        [service[useful], application[useful], malicious[useful]],
        [entry.name for entry in entries],
        selection.shares,
        selection.split_seed,
    )
    return Dataset(
        series=series[useful],
        window=window[useful],
        service=service[useful],
        application=application[useful],
        malicious=malicious[useful],
        capture=capture[useful],
        recording=recording[useful],
        split=split,
        services=services,
        applications=applications,
        captures=[entry.name for entry in entries],
        sources=[entry.origin for entry in entries],
        report={
            "dropped_services": {s: service_captures[s] for s in taxonomy.services if s not in services},
            "dropped_applications": {a: n for a, n in sorted(application_captures.items()) if a not in applications},
            "copies": len(every) - len(same),
            "copied_captures": copied,
            "licences": _licences([entries[each] for each in np.unique(capture[useful])]),
            "only_rare_labels": int((~useful).sum()),
        },
    )


def _licences(used: list[Entry]) -> dict[str, list[str]]:
    """Of each origin those of its captures that are used, most frequent first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in used:
        found[entry.origin][entry.licence or "no licence stated"] += 1
    return {origin: [licence for licence, _ in licences.most_common()] for origin, licences in found.items()}


def _of_use(dataset: Dataset, others: list[tuple[int, SeriesBatch]]) -> SeriesBatch:
    """Of the windows without labels those that say nothing of the validation and test captures."""
    held_out = dataset.split != SPLITS.index("train")
    theirs = set(dataset.capture[np.isin(dataset.recording, dataset.recording[held_out])].tolist())
    series = SeriesBatch.concatenate([part for capture, part in others if capture not in theirs])
    known = {_content(dataset.series, row) for row in np.flatnonzero(held_out).tolist()}
    return series[np.array([row for row in range(len(series)) if _content(series, row) not in known], int)]


def _content(series: SeriesBatch, row: int) -> bytes:
    sizes, times = series.sizes[row], series.times[row]
    return bytes(sizes.tobytes() + times.tobytes())


def _captures_per(labels: list[Labels], capture: np.ndarray) -> tuple[Counter[str], Counter[str]]:
    both = list(zip(labels, capture.tolist(), strict=True))
    services = Counter(service for service, _ in {(label.service, c) for label, c in both if label.service})
    applications = Counter(name for name, _ in {(label.application, c) for label, c in both if label.application})
    return services, applications


def _shuffled(count: int, seed: str) -> list[int]:
    order: list[int] = np.random.default_rng(digest(seed)).permutation(count).tolist()
    return order
