"""Windows of captures with their labels, a row each: what a source's captures become, and a data set is chosen from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mmtt_agent.series import MIN_PACKETS, SeriesBatch

from .labels import Labels
from .sources import Entry, Source


@dataclass
class CaptureRows:
    """The windows of one capture that are long enough.

    Attributes:
        window: uint8 (n,), 0 for a connection's first window.
        timed: bool (n,), whether the windows' times are known.
        labels: of each; ``Labels()`` where nothing is known.
        counts: what was left out and what was named, by what it counts.
        error: why the capture could not be read, then it has no rows, or not beyond some damage.
    """

    entry: Entry
    series: SeriesBatch
    window: np.ndarray
    timed: np.ndarray
    labels: list[Labels]
    counts: dict[str, int]
    error: str = ""


def read_rows(source: Source, entry: Entry) -> CaptureRows:
    """Read one capture of ``source``. What can't be read is reported, not raised: one bad file of thousands is no
    reason to stop.
    """
    # Imported here so that a data set that is already there can be used without the reader.
    from mmtt_agent.capture import CaptureError, read_capture

    if entry.series:
        series, timed, labels, short = source.series(entry)
        counts = {
            "windows": len(series) + short,
            "too short": short,
            "of series without a capture": len(series),
            "of series without a known service": sum(not label.service and not label.malicious for label in labels),
        }
        return CaptureRows(entry, series, np.zeros(len(series), np.uint8), timed, labels, counts)
    empty = SeriesBatch.from_lists([], [])
    try:
        capture = read_capture(entry.path, checksums=source.checksums)
    except CaptureError as error:
        return CaptureRows(entry, empty, np.zeros(0, np.uint8), np.zeros(0, bool), [], {}, str(error))
    windows = capture.windows
    enough = np.flatnonzero(windows.series.lengths >= MIN_PACKETS)
    counted = Counter({"windows": len(windows.series), "too short": len(windows.series) - len(enough)})
    labels = [Labels()] * len(enough)
    if entry.labelled:
        labels, named = source.labels(entry, capture, enough)
        counted.update(named)
    return CaptureRows(
        entry,
        windows.series[enough],
        np.asarray(windows.window)[enough].astype(np.uint8),
        np.ones(len(enough), bool),
        labels,
        dict(counted),
        # What is before the damage is taken.
        "; ".join(capture.problems),
    )
