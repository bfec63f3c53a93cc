"""A capture's windows and their verdicts as rows of ``mmtt.log``, and what they are evidence of as rows of
``mmtt_incidents.log``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..capture import Capture
from ..capture.live import Found
from ..classifier import Classifier, Verdicts
from ..incidents import Incident, Tracker
from ..record import Batch
from ..series import MIN_PACKETS
from .evidence import About, Evidence, about
from .row import IncidentRow, Row

#: Windows that are classified between two looks at the progress: a multiple of what the classifier takes at a time.
_STEP = 1024


def rows(
    capture: Capture | Found,
    name: str,
    classifier: Classifier,
    tracker: Tracker | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
    remember: Callable[[Batch], None] | None = None,
    seed: int | None = None,
    goes_on: bool = False,
) -> Iterator[Row | IncidentRow]:
    """One row for each window with payload, in order of time, and among them what is found of incidents.

    Args:
        name: what the capture is called in them.
        tracker: for this capture alone, unless it goes on; without one there are no incidents.
        progress: called now and then with the windows that have been classified, and all that will be.
        remember: takes the windows that have a verdict.
        seed: of community IDs; None: rows have none.
        goes_on: more is to come after this capture: no incident ends with it.
    """
    windows = capture.windows
    enough = windows.series.lengths >= MIN_PACKETS
    # Addresses and uids of connections are text made once, though a connection may have several windows.
    used, index = np.unique(windows.connection, return_inverse=True)
    connections = about(capture.connections, used)
    ids = [None if seed is None else each.community_id(seed) for each in connections]
    evidence = Evidence(capture, tracker) if tracker else None
    with_verdict = np.flatnonzero(enough)
    begin = 0
    for done in range(0, max(len(with_verdict), 1), _STEP):
        progress(done, len(with_verdict))
        of_step = with_verdict[done : done + _STEP]
        end = int(of_step[-1]) + 1 if done + _STEP < len(with_verdict) else len(windows)
        part, begin = slice(begin, end), end
        of = [connections[i] for i in index[of_step].tolist()]
        said_of, found = _answers(capture, of_step, of, classifier, evidence, remember)
        columns = (windows.ts, index, windows.window, windows.series.lengths, enough)
        for ts, connection, window, packets, answered in zip(*(each[part].tolist() for each in columns), strict=True):
            if answered:
                *said, incident = next(said_of)
                rest = *said, "ok", None, classifier.model, incident
            else:
                rest = *[None] * 7, "too_short", None, None, None
            yield Row._make((ts, *connections[connection], window, packets, *rest, name, ids[connection]))
        for incident in found:
            yield IncidentRow.of(incident, name)
    for incident in evidence.end(goes_on) if evidence else []:
        yield IncidentRow.of(incident, name)


def _answers(
    capture: Capture | Found,
    windows: np.ndarray,
    connections: list[About],
    classifier: Classifier,
    evidence: Evidence | None,
    remember: Callable[[Batch], None] | None,
) -> tuple[Iterator[tuple[Any, ...]], list[Incident]]:
    """Service, application, malicious, their scores, the kind and the incident of each of the windows; and the
    incidents that have been found since the last time."""
    if not len(windows):
        return iter(()), []
    series = capture.windows.series[windows]
    verdicts = classifier.classify(series)
    incidents, found = evidence.flows(windows, connections, verdicts) if evidence else ([""] * len(windows), [])
    if remember:
        numbers, ts = capture.windows.window[windows].tolist(), capture.windows.ts[windows]
        uids = [each.uid for each in connections]
        remember(Batch(uids, numbers, ts, series, verdicts, incidents, classifier.model))
    return answers(verdicts, incidents), found


def answers(verdicts: Verdicts, incidents: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Of each verdict a row's columns from ``service`` to ``malicious_kind``, and its incident, None for ""."""
    return zip(
        verdicts.service,
        verdicts.service_score.tolist(),
        verdicts.application,
        verdicts.application_score.tolist(),
        verdicts.malicious.tolist(),
        verdicts.malicious_score.tolist(),
        (kind or None for kind in verdicts.malicious_kind),
        (incident or None for incident in incidents),
        strict=True,
    )
