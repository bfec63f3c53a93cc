"""The data set: windows of labelled captures with their labels, split by recording, as arrays in one file.

A directory of captures holds ``captures.tsv`` (a row per capture with what it was made of), ``flows.tsv.zst`` (nDPI's
name per flow) and the captures at the paths that ``captures.tsv`` names, under ``captures/``.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import ipaddress
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import zstandard

from mmtt_agent.series import MIN_PACKETS, SeriesBatch

from .labels import MISSING, CaptureLabels, FlowName, Labels, Taxonomy, agreed
from .split import SPLITS, digest, equal_windows, recordings, split_recordings

#: Changes with every change of what a cached data set holds.
CACHE_VERSION = 3

_CAPTURE_COLUMNS = ("capture", "group", "service", "application", "malicious", "source_repo")
_FLOW_COLUMNS = [
    "capture",
    "first_seen_ms",
    "last_seen_ms",
    "proto",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "ndpi_app",
    "ndpi_category",
    "ndpi_guessed",
    "sni",
]


class DatasetError(Exception):
    """Data that can't be used; one line that names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class Selection:
    """What of the captures becomes the data set.

    Attributes:
        min_captures: captures that a service or an application must occur in to be kept.
        max_windows: windows kept of one capture with the same labels, so that a scan does not count as a thousand flows.
        split_seed: freezes which capture is in which split.
        shares: of the captures in training, validation and test.
        lab_malicious: whether the traffic lab's windows teach what is malicious too, or services and applications alone.
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
    report: dict

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
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def rows(self, split: str) -> np.ndarray:
        """Indices of the windows in ``split``."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def save(self, path: Path, key: str) -> None:
        arrays = {
            name: getattr(self, name)
            for name in ("window", "service", "application", "malicious", "capture", "recording", "split")
        }
        about = {
            name: getattr(self, name)
            for name in ("services", "applications", "captures", "sources", "report")
        }
        new = path.with_name(f".{path.name}.new.npz")
        np.savez_compressed(
            new,
            sizes=self.series.sizes,
            times=self.series.times,
            lengths=self.series.lengths,
            about=np.array(json.dumps({**about, "key": key})),
            **arrays,
        )
        os.replace(new, path)

    @classmethod
    def load(cls, path: Path, key: str) -> Dataset | None:
        """The data set in ``path``, or None if there is none or it was made of something else than ``key`` says."""
        try:
            with np.load(path) as stored:
                arrays = dict(stored)
            about = json.loads(str(arrays.pop("about")))
        except (OSError, ValueError, KeyError):
            return None
        if about.pop("key") != key:
            return None
        series = SeriesBatch(arrays.pop("sizes"), arrays.pop("times"), arrays.pop("lengths"))
        return cls(series=series, **arrays, **about)


def load_or_build(
    directory: Path,
    cache: Path,
    selection: Selection,
    say: Callable[[str], None],
    taxonomy: Taxonomy | None = None,
) -> Dataset:
    """The data set of the captures in ``directory``, kept in the file ``cache`` for the next time.

    Raises:
        DatasetError: the directory does not hold what it must.
    """
    taxonomy = taxonomy or Taxonomy()
    key = _key(directory, selection, taxonomy)
    dataset = Dataset.load(cache, key)
    if dataset is None:
        dataset = build(directory, selection, taxonomy, say)
        cache.parent.mkdir(parents=True, exist_ok=True)
        dataset.save(cache, key)
    else:
        say(f"{cache}: {len(dataset):,} windows from an earlier run")
    return dataset


def build(directory: Path, selection: Selection, taxonomy: Taxonomy, say: Callable[[str], None]) -> Dataset:
    """Read all captures of ``directory`` and keep the windows with at least one label."""
    captures = _read_captures(directory)
    names = _read_flow_names(directory)
    # Imported here so that a data set that is already cached can be used without the reader.
    from mmtt_agent.capture import CaptureError, read_capture

    counts: Counter[str] = Counter()
    unreadable: list[str] = []
    parts: list[tuple[int, SeriesBatch, np.ndarray, list[Labels]]] = []
    for index, (about, _) in enumerate(captures):
        if index % 200 == 0:
            say(f"reading captures: {index:,} of {len(captures):,}, {counts['labelled']:,} labelled windows")
        if about.group == "mixed":
            counts["captures without labels"] += 1
            continue
        try:
            capture = read_capture(directory / "captures" / about.path, checksums=False)
        except CaptureError as error:
            unreadable.append(str(error))
            continue
        windows, connections = capture.windows, capture.connections
        counts["windows"] += len(windows.series)
        enough = np.flatnonzero(windows.series.lengths >= MIN_PACKETS)
        counts["too short"] += len(windows.series) - len(enough)
        flows = names.get(about.path, {})
        labels, kept, taken = [], [], Counter()
        for row in _shuffled(enough, f"{selection.split_seed} {about.path}"):
            flow = _name_of(flows, connections, windows, row)
            counts["named by nDPI" if flow else "not named by nDPI"] += 1
            label = taxonomy.labels(about, flow)
            if label == Labels():
                counts["without a label"] += 1
            elif taken[label] >= selection.max_windows:
                counts["beyond max_windows"] += 1
            else:
                taken[label] += 1
                labels.append(label)
                kept.append(row)
        counts["labelled"] += len(kept)
        if kept:
            kept = np.array(kept)
            parts.append((index, windows.series[kept], np.asarray(windows.window)[kept], labels))
    if not parts:
        raise DatasetError(
            f"{directory}: no labelled window in {len(captures)} captures; is it the right directory?"
        )
    say(f"read {len(captures):,} captures: {', '.join(f'{n:,} {what}' for what, n in counts.items())}")
    dataset = _assemble(captures, parts, selection, taxonomy)
    dataset.report |= {"counts": dict(counts), "unreadable": unreadable, "captures": len(captures)}
    return dataset


def _assemble(captures, parts, selection: Selection, taxonomy: Taxonomy) -> Dataset:
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
    applications = {}
    for application in sorted(application_captures, key=str.lower):
        possible = taxonomy.services_of(application, services_seen[application])
        possible = sorted(set(possible) & set(services))
        if possible and application_captures[application] >= selection.min_captures:
            applications[application] = possible
    order = list(applications)

    def number(name: str | None, among: list[str]) -> int:
        return among.index(name) if name in among else MISSING

    service = np.array([number(label.service, services) for label in labels], np.int64)
    application = np.array([number(label.application, order) for label in labels], np.int64)
    malicious = np.array(
        [MISSING if label.malicious is None else label.malicious for label in labels], np.int64
    )
    useful = (service != MISSING) | (application != MISSING) | (malicious != MISSING)
    split = split_recordings(
        recording[useful],
        [service[useful], application[useful], malicious[useful]],
        [c[0].path for c in captures],
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
        captures=[about.path for about, _ in captures],
        sources=[source for _, source in captures],
        report={
            "dropped_services": {s: service_captures[s] for s in taxonomy.services if s not in services},
            "dropped_applications": {
                a: n for a, n in sorted(application_captures.items()) if a not in applications
            },
            "copies": len(every) - len(same),
            "copied_captures": copied,
            "only_rare_labels": int((~useful).sum()),
        },
    )


def _captures_per(labels: list[Labels], capture: np.ndarray) -> tuple[Counter, Counter]:
    services, applications = Counter(), Counter()
    for service, _ in {(label.service, c) for label, c in zip(labels, capture.tolist()) if label.service}:
        services[service] += 1
    for name, _ in {
        (label.application, c) for label, c in zip(labels, capture.tolist()) if label.application
    }:
        applications[name] += 1
    return services, applications


def _name_of(flows: dict, connections, windows, row: int) -> FlowName | None:
    """nDPI's name of the flow that a window belongs to: same addresses and ports, closest in time."""
    c = int(windows.connection[row])
    one = (connections.orig_h[c].tobytes(), int(connections.orig_p[c]))
    other = (connections.resp_h[c].tobytes(), int(connections.resp_p[c]))
    candidates = flows.get((int(connections.proto[c]), *sorted((one, other))))
    if not candidates:
        return None
    begin = int(windows.ts[row])
    end = begin + int(windows.series.times[row].max())

    def distance(candidate) -> int:
        first, last, _ = candidate
        return max(first - end, begin - last, 0)

    nearest = min(candidates, key=distance)
    # nDPI's times are cut to milliseconds.
    return nearest[2] if distance(nearest) <= 2_000 else None


def _read_captures(directory: Path) -> list[tuple[CaptureLabels, str]]:
    path = directory / "captures.tsv"
    rows = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in _table(path, file, _CAPTURE_COLUMNS):
                about = CaptureLabels(
                    row["capture"], row["group"], row["service"], row["application"], row["malicious"]
                )
                rows.append((about, row["source_repo"]))
    except OSError as error:
        raise DatasetError(
            f"{path}: {error.strerror}; --data must name a directory with captures.tsv, flows.tsv.zst and captures/"
        ) from None
    if not rows:
        raise DatasetError(f"{path}: names no capture")
    return rows


def _read_flow_names(directory: Path) -> dict[str, dict]:
    """capture -> (protocol, end, end) -> [(first, last, name)], times in microseconds."""
    path = directory / "flows.tsv.zst"
    names: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    try:
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            for row in _table(path, text, _FLOW_COLUMNS):
                source = (_address(row["src_ip"]), int(row["src_port"]))
                target = (_address(row["dst_ip"]), int(row["dst_port"]))
                names[row["capture"]][(int(row["proto"]), *sorted((source, target)))].append(
                    (
                        int(row["first_seen_ms"]) * 1000,
                        int(row["last_seen_ms"]) * 1000 + 999,
                        FlowName(
                            row["ndpi_app"], row["ndpi_category"], row["ndpi_guessed"] == "1", row["sni"]
                        ),
                    )
                )
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; --data must name a directory that holds it") from None
    except (ValueError, zstandard.ZstdError) as error:
        raise DatasetError(f"{path}: damaged ({error}); fetch it again") from None
    return names


def _table(path: Path, file, columns):
    reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DatasetError(f"{path}: has no column {missing[0]!r}")
    return reader


def _address(text: str) -> bytes:
    """16 bytes, IPv4 as IPv4-mapped."""
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def _shuffled(rows: np.ndarray, seed: str) -> list[int]:
    return np.random.default_rng(digest(seed)).permutation(rows).tolist()


def _key(directory: Path, selection: Selection, taxonomy: Taxonomy) -> str:
    """Says what a data set is made of."""
    digest = hashlib.sha256()
    about = (CACHE_VERSION, version("mmtt"), dataclasses.astuple(selection), taxonomy.digest)
    digest.update(repr(about).encode())
    for name in ("captures.tsv", "flows.tsv.zst"):
        try:
            digest.update((directory / name).read_bytes())
        except OSError as error:
            raise DatasetError(
                f"{directory / name}: {error.strerror}; --data must name a directory with captures.tsv, "
                "flows.tsv.zst and captures/"
            ) from None
    return digest.hexdigest()
