"""Connections of captures with who they are of, for what is told of many connections: all windows of every capture
with labels, not the few alike ones that a network is trained on, and the connections that have no window or one that is
too short.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmtt_agent import __version__
from mmtt_agent.capture import Capture, CaptureError, read_capture
from mmtt_agent.series import MIN_PACKETS, SeriesBatch

from .build import is_built
from .dataset import Dataset, stored
from .errors import DatasetError
from .labels import MISSING
from .processes import Process, of_captures
from .sources import Entry, TableSource
from .split import equal_windows, recordings
from .taxonomy import Taxonomy

#: Changes with every change of what is kept.
CACHE_VERSION = 2
#: Between two connections of a capture at most so many seconds count as time in which it was recorded.
_QUIET = 600.0


@dataclass
class Pairs:
    """``n`` connections of captures, and their ``w`` windows that have a verdict, in order of capture and time.

    Attributes:
        key: changes with all that they are made of.
        captures: paths; ``sites`` of each (the site of the first of its copies), ``hours`` float64: how long each was
            recorded, as far as connections tell, and ``split`` int64: index into SPLITS, MISSING where the data set has
            no window of its site.
        hosts: addresses, as text.
        capture, orig, resp: int64 (n,), indices into ``captures`` and ``hosts``.
        resp_p: int64 (n,), the responder's port; ``protocol``: uint8 (n,), 6 or 17.
        start: int64 (n,), microseconds since 1970.
        failed: bool (n,), TCP that was not answered, or refused.
        short: bool (n,), its first window has too few packets for a verdict.
        connection: int64 (w,), the connection of each window.
        window: uint8 (w,), its number in that.
        ts: int64 (w,), microseconds since 1970, its first packet with payload.
        series: of the windows.
        malicious: int64 (w,), 1, 0 or MISSING; ``kind``: int64 (w,), index into the data set's kinds, or MISSING.
        transport: uint8 (w,), index into TRANSPORTS.
    """

    key: str
    captures: list[str]
    sites: list[str]
    hours: np.ndarray
    split: np.ndarray
    hosts: list[str]
    capture: np.ndarray
    orig: np.ndarray
    resp: np.ndarray
    resp_p: np.ndarray
    protocol: np.ndarray
    start: np.ndarray
    failed: np.ndarray
    short: np.ndarray
    connection: np.ndarray
    window: np.ndarray
    ts: np.ndarray
    series: SeriesBatch
    malicious: np.ndarray
    kind: np.ndarray
    transport: np.ndarray

    def save(self, path: Path) -> None:
        stored = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "series"}
        about = {name: value for name, value in stored.items() if not isinstance(value, np.ndarray)}
        arrays: dict[str, Any] = {name: value for name, value in stored.items() if isinstance(value, np.ndarray)}
        series: dict[str, Any] = {name: getattr(self.series, name) for name in ("sizes", "times", "lengths")}
        new = path.with_name(f".{path.name}.new.npz")
        np.savez_compressed(new, about=np.array(json.dumps(about)), **arrays, **series)
        os.replace(new, path)

    @classmethod
    def load(cls, path: Path, key: str) -> Pairs | None:
        """What is in ``path``, or None if there is nothing or it was made of something else than ``key`` says."""
        if (found := stored(path)) is None:
            return None
        arrays, about = found
        if about["key"] != key:
            return None
        series = SeriesBatch(*(arrays.pop(name) for name in ("sizes", "times", "lengths")))
        return cls(series=series, **arrays, **about)


@dataclass
class _Part:
    """What one capture comes to; as in Pairs, but for hosts and kinds, which are text."""

    name: str
    site: str
    hours: float
    hosts: list[str]
    orig: np.ndarray
    resp: np.ndarray
    resp_p: np.ndarray
    protocol: np.ndarray
    start: np.ndarray
    failed: np.ndarray
    short: np.ndarray
    connection: np.ndarray
    window: np.ndarray
    ts: np.ndarray
    series: SeriesBatch
    malicious: np.ndarray
    kind: list[str | None]
    transport: np.ndarray


def load_or_build(
    directory: Path,
    cache: Path,
    dataset: Dataset,
    jobs: int,
    say: Callable[[str], None],
    taxonomy: Taxonomy | None = None,
) -> Pairs | None:
    """The connections of the captures in ``directory``, kept in the file ``cache`` for the next time. ``dataset`` is
    what was chosen of the same captures: its sites and their split hold here too. None where ``directory`` is what
    `mmtt dataset build` made, which has no hosts.

    Raises:
        DatasetError: the directory does not hold captures with tables.
    """
    if is_built(directory):
        say(
            f"{directory}: what `mmtt dataset build` made has no hosts; what is told of many connections is learnt "
            "from captures with their tables"
        )
        return None
    taxonomy = taxonomy or Taxonomy()
    source = TableSource(directory, taxonomy)
    made_of = (CACHE_VERSION, __version__, taxonomy.digest, source.digest(), dataset.digest())
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()
    pairs = Pairs.load(cache, key)
    if pairs is None:
        pairs = _join(_parts(source, jobs, say), dataset, key)
        pairs.save(cache)
    say(f"{cache}: {len(pairs.capture):,} connections, {len(pairs.ts):,} windows of {len(pairs.captures):,} captures")
    return pairs


def _parts(source: TableSource, jobs: int, say: Callable[[str], None]) -> list[_Part]:
    """Of each capture with labels that can be read, in their order."""
    parts, captures = of_captures(source, _part, jobs, "pairs", 500, say)
    if not parts:
        raise DatasetError(f"{source.directory}: none of {captures} captures with labels could be read")
    return parts


def _part(entry: Entry) -> _Part | None:
    source = Process.source
    try:
        capture = read_capture(entry.path, checksums=source.checksums)
    except CaptureError:
        return None
    connections, windows = capture.connections, capture.windows
    if not len(connections):
        return None
    order = np.argsort(connections.ts, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    hosts: dict[str, int] = {}
    orig, resp = (
        np.array([hosts.setdefault(each, len(hosts)) for each in texts], np.int64)
        for texts in connections.addresses(order)
    )
    short = np.zeros(len(order), bool)
    short[place[windows.connection[(windows.series.lengths < MIN_PACKETS) & (windows.window == 0)]]] = True
    enough = np.flatnonzero(windows.series.lengths >= MIN_PACKETS)
    labels, _ = source.labels(entry, capture, enough)
    return _Part(
        entry.name,
        entry.left_out_with,
        _hours(capture),
        list(hosts),
        orig,
        resp,
        connections.resp_p[order].astype(np.int64),
        connections.proto[order],
        connections.ts[order],
        connections.failed[order],
        short,
        place[windows.connection[enough]],
        windows.window[enough].astype(np.uint8),
        windows.ts[enough],
        windows.series[enough],
        np.array([MISSING if label.malicious is None else int(label.malicious) for label in labels], np.int64),
        [label.kind for label in labels],
        np.array([label.transport for label in labels], np.uint8),
    )


def _hours(capture: Capture) -> float:
    """How long it was recorded, as far as connections tell: files that were joined have days between them."""
    windows = capture.windows
    ends = windows.ts + windows.series.times.max(axis=1, initial=0)
    moments = np.sort(np.concatenate([capture.connections.ts, windows.ts, ends]))
    return float(np.minimum(np.diff(moments) / 1e6, _QUIET).sum() / 3600)


def _join(parts: list[_Part], dataset: Dataset, key: str) -> Pairs:
    """One after the other, without captures that are in the main copies of earlier ones; what was recorded once is of
    one site."""
    series = SeriesBatch.concatenate([part.series for part in parts])
    of = np.concatenate([np.full(len(part.ts), number) for number, part in enumerate(parts)])
    same = equal_windows(series, np.ones(len(series), bool))
    again = np.zeros(len(series), bool)
    for rows in same:
        again[rows[1:]] = of[rows[1:]] != of[rows[0]]
    labelled = np.concatenate([part.malicious for part in parts]) != MISSING
    shared = [rows for rows in same if labelled[rows].any()]
    recording = dict(zip(of.tolist(), recordings(shared, of).tolist(), strict=True))
    copies = np.bincount(of, again, len(parts)) * 2 > np.bincount(of, minlength=len(parts)).clip(1)
    # The data set joins copies by more than what is known to be malicious or not, so it is asked first.
    known = {
        dataset.captures[capture]: dataset.sites[site]
        for capture, site in zip(dataset.capture.tolist(), dataset.site.tolist(), strict=True)
    }
    split = {
        dataset.sites[site]: int(part) for site, part in zip(dataset.site.tolist(), dataset.split.tolist(), strict=True)
    }
    hosts: dict[str, int] = {}
    kinds = {name: number for number, name in enumerate(dataset.kinds)}
    columns: dict[str, list[np.ndarray]] = {}
    captures: list[str] = []
    sites: list[str] = []
    hours: list[float] = []
    before = 0
    for number, part in enumerate(parts):
        if copies[number]:
            continue
        place = np.array([hosts.setdefault(host, len(hosts)) for host in part.hosts], np.int64)
        first = parts[recording.get(number, number)]
        sites.append(known.get(part.name) or known.get(first.name) or first.site)
        columns.setdefault("capture", []).append(np.full(len(part.start), len(captures), np.int64))
        captures.append(part.name)
        hours.append(part.hours)
        for name, values in (
            ("orig", place[part.orig]),
            ("resp", place[part.resp]),
            ("connection", part.connection + before),
            ("kind", np.array([MISSING if kind is None else kinds.get(kind, MISSING) for kind in part.kind], np.int64)),
            *(
                (name, getattr(part, name))
                for name in ("resp_p", "protocol", "start", "failed", "short", "window", "ts", "malicious", "transport")
            ),
        ):
            columns.setdefault(name, []).append(values)
        before += len(part.start)
    kept = SeriesBatch.concatenate([part.series for number, part in enumerate(parts) if not copies[number]])
    return Pairs(
        key=key,
        captures=captures,
        sites=sites,
        hours=np.array(hours),
        split=np.array([split.get(site, MISSING) for site in sites], np.int64),
        hosts=list(hosts),
        series=kept,
        **{name: np.concatenate(values) for name, values in columns.items()},
    )
