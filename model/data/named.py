"""Windows of captures whose server's name says what they are: what a sensor sees of its traffic and learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmtt_agent.capture import CaptureError, read_capture
from mmtt_agent.learn.nameless import without_name
from mmtt_agent.series import MIN_PACKETS, SeriesBatch

from .dataset import Dataset
from .errors import DatasetError
from .processes import Process, of_captures
from .sources import Entry, TableSource
from .taxonomy import Taxonomy


@dataclass(frozen=True)
class Named:
    """``n`` windows, in order of site and of their connections' times.

    Attributes:
        site: of each, as the data set has them, or the capture's own.
        connection: int64 (n,), unlike for each connection.
        service, application: what the name says, "" where it does not.
        nameless: the windows as they would be if clients said no name.
    """

    site: np.ndarray
    connection: np.ndarray
    series: SeriesBatch
    nameless: SeriesBatch
    service: np.ndarray
    application: np.ndarray


@dataclass
class _Part:
    name: str
    site: str
    start: np.ndarray
    connection: np.ndarray
    series: SeriesBatch
    nameless: SeriesBatch
    service: list[str]
    application: list[str]


def read(directory: Path, dataset: Dataset, jobs: int, say: Callable[[str], None]) -> Named:
    """Read the captures of ``directory``.

    Raises:
        DatasetError: it does not hold captures with tables, or none has a server's name.
    """
    parts, _ = of_captures(TableSource(directory, Taxonomy()), _part, jobs, "servers' names", 1000, say)
    if not parts:
        raise DatasetError(f"{directory}: no capture there has a flow whose server's name is known")
    sites = {
        dataset.captures[capture]: dataset.sites[site]
        for capture, site in zip(dataset.capture.tolist(), dataset.site.tolist(), strict=True)
    }
    counts = [len(part.start) for part in parts]
    before = np.cumsum([0, *(int(part.connection.max()) + 1 for part in parts)])[:-1]
    site = np.array([sites.get(part.name, part.site) for part in parts], object).repeat(counts)
    start = np.concatenate([part.start for part in parts])
    order = np.lexsort((start, site.astype(str)))
    connection = np.concatenate([part.connection + more for part, more in zip(parts, before, strict=True)])
    service, application = (
        np.array([label for part in parts for label in getattr(part, name)], object)
        for name in ("service", "application")
    )
    series, nameless = (
        SeriesBatch.concatenate([getattr(part, name) for part in parts])[order] for name in ("series", "nameless")
    )
    return Named(site[order], connection[order], series, nameless, service[order], application[order])


def _part(entry: Entry) -> _Part | None:
    """The windows of a capture that a name says something of."""
    source = Process.source
    if not source.names_servers(entry):
        return None
    try:
        capture = read_capture(entry.path, checksums=source.checksums)
    except CaptureError:
        return None
    windows = capture.windows
    enough = np.flatnonzero(windows.series.lengths >= MIN_PACKETS)
    labels, _ = source.labels(entry, capture, enough)
    by_name = [(label.service_by == "name", label.application_by == "name") for label in labels]
    kept = np.flatnonzero(np.array(by_name, bool).reshape(-1, 2).any(axis=1))
    if not len(kept):
        return None
    connection = windows.connection[enough[kept]].astype(np.int64)
    names = source.tls_names(entry, capture, enough[kept])
    lengths = np.where(windows.window[enough[kept]] == 0, [len(name) for name in names], 0)
    series = windows.series[enough[kept]]
    return _Part(
        entry.name,
        entry.left_out_with,
        capture.connections.ts[connection],
        connection,
        series,
        without_name(series, lengths),
        [(labels[row].service or "") if by_name[row][0] else "" for row in kept.tolist()],
        [(labels[row].application or "") if by_name[row][1] else "" for row in kept.tolist()],
    )
