"""The data set: labelled windows with their labels, split by site, as arrays in one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zipfile
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
from .labels import EVIDENCE, MISSING, Labels, agreed
from .rows import CaptureRows, read_rows
from .sources import Entry, TableSource
from .split import SPLITS, digest, equal_windows, frozen_sites, recordings, split_groups
from .taxonomy import Taxonomy

#: Changes with every change of what a cached data set holds.
CACHE_VERSION = 9
#: Fewer sites than this can't be shared out, and recordings are in their place.
_FEW_SITES = 10
#: Windows without a label of one capture, by its index, and whether their times are known.
_Other = tuple[int, SeriesBatch, np.ndarray]


@dataclass
class _Part:
    """Labelled windows of one capture: what they are, their numbers in their connections, how many of the same labels
    and with times come before each."""

    capture: int
    series: SeriesBatch
    window: np.ndarray
    timed: np.ndarray
    rank: np.ndarray
    labels: list[Labels]


@dataclass(frozen=True)
class Selection:
    """What of the captures becomes the data set.

    Attributes:
        min_sites: sites that a service or an application must occur in to be kept.
        max_windows: windows kept of one capture with the same labels, so that a scan does not count as a thousand
            flows.
        max_scored: of these, those that count in a score; of windows without times none does.
        split_seed: freezes which site is in which split, of those that the shipped list does not have.
        shares: of the sites in training, validation and test.
        lab_malicious: whether the traffic lab's windows teach what is malicious too, or services and applications
            alone.
    """

    min_sites: int = 3
    max_windows: int = 200
    max_scored: int = 15
    split_seed: int = 1
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    lab_malicious: bool = False


@dataclass
class Dataset:
    """``n`` labelled windows.

    Attributes:
        series: their sizes and times.
        timed: bool (n,), whether their times are known; all zero where not.
        window: uint8 (n,), 0 for a connection's first window.
        service, application: int64 (n,), index into ``services`` and ``applications``, MISSING where not known.
        malicious: int64 (n,), 1, 0 or MISSING.
        malicious_kind: int64 (n,), index into ``kinds``, MISSING where not known or not malicious.
        service_by, application_by: uint8 (n,), index into EVIDENCE: what the label comes from.
        transport: uint8 (n,), index into TRANSPORTS.
        capture: int64 (n,), index into ``captures`` (paths) and ``sources`` (the repository of each).
        recording: int64 (n,), the first of the captures that are copies or cuts of the same recording.
        site: int64 (n,), index into ``sites``; the same for all windows of a recording. Where there are too few sites
            to share out, each recording is one.
        split: int64 (n,), index into SPLITS; the same for all windows of a site.
        scored: bool (n,), whether it counts in a score, beside the others of its capture with the same labels.
        applications: name -> the services it can be.
        report: what was read, kept and dropped.
        unlabelled: windows without a label that are not of a site in validation or test, nor copies of such;
            ``unlabelled_timed``: whether their times are known.
    """

    series: SeriesBatch
    timed: np.ndarray
    window: np.ndarray
    service: np.ndarray
    application: np.ndarray
    malicious: np.ndarray
    malicious_kind: np.ndarray
    service_by: np.ndarray
    application_by: np.ndarray
    transport: np.ndarray
    capture: np.ndarray
    recording: np.ndarray
    site: np.ndarray
    split: np.ndarray
    scored: np.ndarray
    services: list[str]
    applications: dict[str, list[str]]
    kinds: list[str]
    captures: list[str]
    sources: list[str]
    sites: list[str]
    report: dict[str, Any]
    unlabelled: SeriesBatch = field(default_factory=SeriesBatch.empty)
    unlabelled_timed: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.series)

    def targets(self) -> dict[str, np.ndarray]:
        """Labels by task."""
        return {
            "service": self.service,
            "application": self.application,
            "malicious": self.malicious,
            "malicious_kind": self.malicious_kind,
        }

    def classes(self, task: str) -> int:
        """How many answers a task has."""
        return {
            "service": len(self.services),
            "application": len(self.applications),
            "malicious": 2,
            "malicious_kind": len(self.kinds),
        }[task]

    def digest(self) -> str:
        """Changes with everything that training sees."""
        digest = hashlib.sha256(repr((self.services, list(self.applications), self.kinds)).encode())
        arrays = [self.series.sizes, self.series.times, self.timed, self.capture, self.site, self.split, self.scored]
        arrays += self.targets().values()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def rows(self, split: str) -> np.ndarray:
        """Indices of the windows in ``split``; but for training those that count."""
        inside = self.split == SPLITS.index(split)
        return np.flatnonzero(inside if split == "train" else inside & self.scored)

    def save(self, path: Path, key: str) -> None:
        plain = ("series", "unlabelled", "unlabelled_timed")
        stored = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name not in plain}
        arrays: dict[str, Any] = {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}
        about = {name: value for name, value in stored.items() if not isinstance(value, np.ndarray)}
        new = path.with_name(f".{path.name}.new.npz")
        np.savez_compressed(
            new,
            sizes=self.series.sizes,
            times=self.series.times,
            lengths=self.series.lengths,
            more_sizes=self.unlabelled.sizes,
            more_times=self.unlabelled.times,
            more_lengths=self.unlabelled.lengths,
            more_timed=self.unlabelled_timed,
            about=np.array(json.dumps({**about, "key": key})),
            **arrays,
        )
        os.replace(new, path)

    @classmethod
    def load(cls, path: Path, key: str | None = None) -> Dataset | None:
        """The data set in ``path``, or None if there is none or it was made of something else than ``key`` says."""
        if (found := stored(path)) is None:
            return None
        arrays, about = found
        if about.pop("key") != key and key is not None:
            return None
        series, unlabelled = (
            SeriesBatch(*(arrays.pop(f"{which}{name}") for name in ("sizes", "times", "lengths")))
            for which in ("", "more_")
        )
        more = arrays.pop("more_timed")
        return cls(series=series, unlabelled=unlabelled, unlabelled_timed=more, **arrays, **about)


def stored(path: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The arrays of an .npz file, and what its ``about`` says in JSON; None where no such file can be read."""
    try:
        with np.load(path) as file:
            arrays: dict[str, Any] = dict(file)
        return arrays, json.loads(str(arrays.pop("about")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


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
        labelled += sum(map(bool, rows.labels))
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
    others: list[_Other] = []
    for index, rows in enumerate(captures):
        entries.append(rows.entry)
        counts.update(rows.counts)
        if rows.error:
            unreadable.append(rows.error)
        counts["captures without labels"] += not rows.entry.labelled
        kept: list[int] = []
        rank: list[int] = []
        taken: Counter[tuple[Any, ...]] = Counter()
        # Windows without times never count in a score, and so take no place there.
        timed: Counter[tuple[Any, ...]] = Counter()
        for row in (
            _shuffled(len(rows.labels), f"{selection.split_seed} {rows.entry.name}") if rows.entry.labelled else ()
        ):
            label = rows.labels[row]
            alike = label.service, label.application, label.malicious
            if not label:
                counts["without a label"] += 1
            elif taken[alike] >= selection.max_windows:
                counts["beyond max_windows"] += 1
            else:
                rank.append(timed[alike])
                timed[alike] += bool(rows.timed[row])
                taken[alike] += 1
                kept.append(row)
        counts["labelled"] += len(kept)
        without = [row for row, label in enumerate(rows.labels) if not label]
        if without:
            others.append((index, rows.series[np.array(without)], rows.timed[np.array(without)]))
        if kept:
            chosen = np.array(kept)
            labels = [rows.labels[row] for row in kept]
            parts.append(
                _Part(index, rows.series[chosen], rows.window[chosen], rows.timed[chosen], np.array(rank), labels)
            )
    if not parts:
        raise DatasetError(f"{directory}: no labelled window in {len(entries)} captures; is it the right directory?")
    say(f"read {len(entries):,} captures: {', '.join(f'{n:,} {what}' for what, n in counts.items())}")
    dataset = _assemble(entries, parts, selection, taxonomy)
    dataset.unlabelled, dataset.unlabelled_timed = _of_use(dataset, others)
    dataset.report |= {"counts": dict(counts), "unreadable": unreadable, "captures": len(entries)}
    return dataset


def _assemble(entries: list[Entry], parts: list[_Part], selection: Selection, taxonomy: Taxonomy) -> Dataset:
    """Join copies, turn labels into numbers, drop those that are too rare, and split."""
    series = SeriesBatch.concatenate([part.series for part in parts])
    capture = np.concatenate([np.full(len(part.labels), part.capture) for part in parts])
    timed, rank, window = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("timed", "rank", "window")
    )
    same = equal_windows(series, timed)
    recording = recordings([rows for rows in same if timed[rows[0]]], capture)
    copied = len(np.unique(capture)) - len(np.unique(recording))
    every = [label for part in parts for label in part.labels]
    labels = [agreed([every[row] for row in rows]) for rows in same]
    rows = np.array([rows[0] for rows in same])
    series, window, timed, rank = series[rows], window[rows], timed[rows], rank[rows]
    capture, recording = capture[rows], recording[rows]
    # What was recorded once is on one side: at the site of the first of its copies.
    site_of = [entry.left_out_with for entry in entries]
    by_site = len({site_of[each] for each in np.unique(recording).tolist()}) >= _FEW_SITES
    if not by_site:
        site_of = [entry.name for entry in entries]
    sites = sorted(set(site_of))
    places = {name: place for place, name in enumerate(sites)}
    site = np.array([places[name] for name in site_of], np.int64)[recording]

    services_seen: dict[str, set[str]] = defaultdict(set)
    for label in labels:
        if label.application and label.service:
            services_seen[label.application].add(label.service)
    service_sites, application_sites = _sites_per(labels, site)
    services = [s for s in taxonomy.services if service_sites[s] >= selection.min_sites]
    applications: dict[str, list[str]] = {}
    for name in sorted(application_sites, key=str.lower):
        possible = sorted(set(taxonomy.services_of(name, services_seen[name])) & set(services))
        if possible and application_sites[name] >= selection.min_sites:
            applications[name] = possible
    order, kinds = list(applications), list(taxonomy.kinds)

    def numbers(names: Iterable[str | None], among: list[str]) -> np.ndarray:
        place: dict[str | None, int] = {name: number for number, name in enumerate(among)}
        return np.array([place.get(name, MISSING) for name in names], np.int64)

    service = numbers((label.service for label in labels), services)
    application = numbers((label.application for label in labels), order)
    malicious = np.array([MISSING if label.malicious is None else label.malicious for label in labels], np.int64)
    useful = (service != MISSING) | (application != MISSING) | (malicious != MISSING)
    tasks = [service[useful], application[useful], malicious[useful]]
    frozen = frozen_sites() if by_site else {}
    split = split_groups(site[useful], tasks, sites, selection.shares, selection.split_seed, frozen)
    return Dataset(
        series=series[useful],
        timed=timed[useful],
        window=window.astype(np.uint8)[useful],
        service=service[useful],
        application=application[useful],
        malicious=malicious[useful],
        malicious_kind=numbers((label.kind for label in labels), kinds)[useful],
        service_by=_evidence([label.service_by for label in labels])[useful],
        application_by=_evidence([label.application_by for label in labels])[useful],
        transport=np.array([label.transport for label in labels], np.uint8)[useful],
        capture=capture[useful],
        recording=recording[useful],
        site=site[useful],
        split=split,
        # A sensor never sends a window without times.
        scored=(rank < selection.max_scored)[useful] & timed[useful],
        services=services,
        applications=applications,
        kinds=kinds,
        captures=[entry.name for entry in entries],
        sources=[entry.origin for entry in entries],
        sites=sites,
        report={
            "split_by": "site" if by_site else "recording",
            "site_of": site_of,
            "dropped_services": {s: service_sites[s] for s in taxonomy.services if s not in services},
            "dropped_applications": {a: n for a, n in sorted(application_sites.items()) if a not in applications},
            "copies": len(every) - len(same),
            "copied_captures": copied,
            "licences": _licences([entries[each] for each in np.unique(capture[useful])]),
            "only_rare_labels": int((~useful).sum()),
        },
    )


def _evidence(names: list[str]) -> np.ndarray:
    return np.array([EVIDENCE.index(name) if name else len(EVIDENCE) for name in names], np.uint8)


def _licences(used: list[Entry]) -> dict[str, list[str]]:
    """Of each origin those of its captures that are used, most frequent first."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in used:
        found[entry.origin][entry.licence or "no licence stated"] += 1
    return {origin: [licence for licence, _ in licences.most_common()] for origin, licences in found.items()}


def _of_use(dataset: Dataset, others: list[_Other]) -> tuple[SeriesBatch, np.ndarray]:
    """Of the windows without labels those that say nothing of what is held out, and whether their times are known."""
    held_out = dataset.split != SPLITS.index("train")
    theirs = set(dataset.capture[np.isin(dataset.recording, dataset.recording[held_out])].tolist())
    names = {dataset.sites[each] for each in np.unique(dataset.site[held_out]).tolist()}
    theirs |= {number for number, name in enumerate(dataset.report["site_of"]) if name in names}
    others = [other for other in others if other[0] not in theirs]
    series = SeriesBatch.concatenate([part for _, part, _ in others])
    timed = np.concatenate([part for _, _, part in others]) if others else np.zeros(0, bool)
    known = {_content(dataset.series, row) for row in np.flatnonzero(held_out).tolist()}
    kept = np.array([row for row in range(len(series)) if _content(series, row) not in known], int)
    return series[kept], timed[kept]


def _content(series: SeriesBatch, row: int) -> bytes:
    sizes, times = series.sizes[row], series.times[row]
    return bytes(sizes.tobytes() + times.tobytes())


def _sites_per(labels: list[Labels], site: np.ndarray) -> tuple[Counter[str], Counter[str]]:
    both = list(zip(labels, site.tolist(), strict=True))
    services = Counter(service for service, _ in {(label.service, s) for label, s in both if label.service})
    applications = Counter(name for name, _ in {(label.application, s) for label, s in both if label.application})
    return services, applications


def _shuffled(count: int, seed: str) -> list[int]:
    order: list[int] = np.random.default_rng(digest(seed)).permutation(count).tolist()
    return order
