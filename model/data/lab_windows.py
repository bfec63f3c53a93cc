"""The lab's windows as training data: added to a data set's training part, never to what it is scored on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmtt_agent.series import MIN_PACKETS, SeriesBatch

from .dataset import Dataset, Selection
from .lab_captures import read_labelled
from .labels import EVIDENCE, MISSING
from .split import SPLITS, digest
from .taxonomy import Taxonomy

#: What `Dataset.sources` has for the lab's captures.
LAB = "lab"


def lab_rows(dataset: Dataset) -> np.ndarray:
    """bool (n,): which windows are the lab's."""
    of_capture: np.ndarray = np.array([source == LAB for source in dataset.sources], bool)
    rows: np.ndarray = of_capture[dataset.capture]
    return rows


def with_lab(
    dataset: Dataset,
    directory: Path,
    selection: Selection,
    say: Callable[[str], None],
    taxonomy: Taxonomy | None = None,
) -> Dataset:
    """`dataset` and the windows of the lab's captures in `directory`, these all in the training part.

    A service or application that only the lab has is not learnt: no network could tell whether it was.

    Raises:
        DatasetError: `directory` is not what `mmtt lab run` left.
    """
    taxonomy = taxonomy or Taxonomy()
    parts: list[tuple[int, SeriesBatch, np.ndarray]] = []
    flows: list[dict[str, str]] = []
    names: list[str] = []
    for name, capture, truth in read_labelled(directory):
        windows = capture.windows
        enough = np.flatnonzero(windows.series.lengths >= MIN_PACKETS)
        rng = np.random.default_rng(digest(f"{selection.split_seed} {name}"))
        taken: Counter[tuple[str, str, str]] = Counter()
        kept: list[int] = []
        for row in rng.permutation(enough).tolist():
            flow = truth[windows.connection[row]]
            if flow is None:
                continue
            label = (flow["service"], flow["application"], flow["kind"])
            if taken[label] < selection.max_windows:
                taken[label] += 1
                kept.append(row)
                application = taxonomy.application(flow["application"]) or ""
                # As with real captures: what malicious traffic does says nothing about what HTTPS is else good for.
                service = "" if flow["kind"] and not application else flow["service"]
                flows.append({**flow, "service": service, "application": application})
        if kept:
            parts.append((len(names), windows.series[np.array(kept)], np.asarray(windows.window)[kept]))
            names.append(name)
    if not flows:
        return dataset
    first, count = len(dataset.captures), len(flows)
    captures = first + np.concatenate([np.full(len(series), index) for index, series, _ in parts])

    def numbers(key: str, among: list[str]) -> np.ndarray:
        return np.array([among.index(flow[key]) if flow[key] in among else MISSING for flow in flows], np.int64)

    malicious = np.array([int(flow["malicious"]) if selection.lab_malicious else MISSING for flow in flows], np.int64)
    say(f"{directory}: {count:,} windows of {len(names):,} captures of the lab join the training part")
    nothing = np.full(count, MISSING, np.int64)
    return dataclasses.replace(
        dataset,
        series=SeriesBatch.concatenate([dataset.series, *(part[1] for part in parts)]),
        timed=np.concatenate([dataset.timed, np.ones(count, bool)]),
        window=np.concatenate([dataset.window, np.concatenate([part[2] for part in parts]).astype(np.uint8)]),
        service=np.concatenate([dataset.service, numbers("service", dataset.services)]),
        application=np.concatenate([dataset.application, numbers("application", list(dataset.applications))]),
        malicious=np.concatenate([dataset.malicious, malicious]),
        malicious_kind=np.concatenate([dataset.malicious_kind, nothing]),
        service_by=np.concatenate([dataset.service_by, np.full(count, len(EVIDENCE), np.uint8)]),
        application_by=np.concatenate([dataset.application_by, np.full(count, len(EVIDENCE), np.uint8)]),
        transport=np.concatenate([dataset.transport, np.zeros(count, np.uint8)]),
        capture=np.concatenate([dataset.capture, captures]),
        recording=np.concatenate([dataset.recording, captures]),
        site=np.concatenate([dataset.site, np.full(count, len(dataset.sites))]),
        split=np.concatenate([dataset.split, np.full(count, SPLITS.index("train"))]),
        scored=np.concatenate([dataset.scored, np.zeros(count, bool)]),
        captures=dataset.captures + names,
        sources=dataset.sources + [LAB] * len(names),
        sites=[*dataset.sites, LAB],
        report=dataset.report | {"lab": {"captures": len(names), "windows": count}},
    )
