"""A capture's windows and their verdicts as rows of ``mmtt.log``, and what they are evidence of as rows of
``mmtt_incidents.log``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..capture import Capture
from ..classifier import Classifier
from ..incidents import Incident, Tracker
from ..series import MIN_PACKETS, SeriesBatch
from .evidence import About, Evidence, about

#: Windows that are classified between two looks at the progress: a multiple of what the classifier takes at a time.
_STEP = 1024


class Row(NamedTuple):
    """One row; a field that is unset in the log is None, as a kind is where the model says none.

    Attributes:
        ts: µs since 1970, the window's first payload packet.
        packets: payload packets in the window.
        status: ``ok``, or ``too_short`` for fewer than 4 payload packets: no verdict.
        latency: always None, as nobody waited: only Zeek on live traffic has one.
        incident: that the flow belongs to.
        capture: the name of the file that it comes from; a column only where there may be several.
    """

    ts: int
    uid: str
    orig_h: str
    orig_p: int
    resp_h: str
    resp_p: int
    proto: str
    window: int
    packets: int
    service: str | None
    service_score: float | None
    application: str | None
    application_score: float | None
    malicious: bool | None
    malicious_score: float | None
    malicious_kind: str | None
    status: str
    latency: None
    model: str | None
    incident: str | None
    capture: str


class IncidentRow(NamedTuple):
    """One row of ``mmtt_incidents.log``; a field that is unset there is None: an originator with many responders has no
    responder, a responder with many originators no originator.

    Attributes:
        ts, first, last: µs since 1970; ``first`` and ``last`` are when its connections began.
    """

    ts: int
    id: str
    state: str
    orig_h: str | None
    resp_h: str | None
    resp_p: int | None
    kind: str | None
    score: float
    connections: int
    first: int
    last: int
    orig_bytes: int
    resp_bytes: int
    reason: str
    uids: tuple[str, ...]
    capture: str

    @classmethod
    def of(cls, incident: Incident, capture: str) -> IncidentRow:
        """``capture``: the name of the file that it comes from."""
        return cls(
            ts=incident.ts,
            id=incident.id,
            state=incident.state,
            orig_h=incident.orig,
            resp_h=incident.resp,
            resp_p=int(incident.resp_p.partition("/")[0]) if incident.resp_p else None,
            kind=incident.kind or None,
            score=incident.score,
            connections=incident.connections,
            first=incident.first,
            last=incident.last,
            orig_bytes=incident.orig_bytes,
            resp_bytes=incident.resp_bytes,
            reason=incident.reason,
            uids=incident.uids,
            capture=capture,
        )


def rows(
    capture: Capture,
    name: str,
    classifier: Classifier,
    tracker: Tracker | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Row | IncidentRow]:
    """One row for each window with payload, in order of time, and among them what is found of incidents.

    Args:
        name: what the capture is called in them.
        tracker: for this capture alone; without one there are no incidents.
        progress: called now and then with the windows that have been classified, and all that will be.
    """
    windows = capture.windows
    enough = windows.series.lengths >= MIN_PACKETS
    # Addresses and uids of connections are text made once, though a connection may have several windows.
    used, index = np.unique(windows.connection, return_inverse=True)
    connections = about(capture.connections, used)
    evidence = Evidence(capture, tracker) if tracker else None
    with_verdict = np.flatnonzero(enough)
    begin = 0
    for done in range(0, max(len(with_verdict), 1), _STEP):
        progress(done, len(with_verdict))
        of_step = with_verdict[done : done + _STEP]
        end = int(of_step[-1]) + 1 if done + _STEP < len(with_verdict) else len(windows)
        part, begin = slice(begin, end), end
        of = [connections[i] for i in index[of_step].tolist()]
        answers, found = _answers(windows.series[of_step], of_step, of, classifier, evidence)
        columns = (windows.ts, index, windows.window, windows.series.lengths, enough)
        for ts, connection, window, packets, answered in zip(*(each[part].tolist() for each in columns), strict=True):
            if answered:
                *said, incident = next(answers)
                rest = *said, "ok", None, classifier.model, incident
            else:
                rest = *[None] * 7, "too_short", None, None, None
            yield Row._make((ts, *connections[connection], window, packets, *rest, name))
        for incident in found:
            yield IncidentRow.of(incident, name)
    for incident in evidence.end() if evidence else []:
        yield IncidentRow.of(incident, name)


def _answers(
    series: SeriesBatch,
    windows: np.ndarray,
    connections: list[About],
    classifier: Classifier,
    evidence: Evidence | None,
) -> tuple[Iterator[tuple[Any, ...]], list[Incident]]:
    """Service, application, malicious, their scores, the kind and the incident of each of the windows; and the
    incidents that have been found since the last time."""
    if not len(windows):
        return iter(()), []
    verdicts = classifier.classify(series)
    incidents, found = evidence.flows(windows, connections, verdicts) if evidence else ([""] * len(windows), [])
    answers = zip(
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
    return answers, found
