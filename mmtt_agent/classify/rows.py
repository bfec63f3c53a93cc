"""A capture's windows and their verdicts as rows of ``mmtt.log``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..capture import Capture, Connections
from ..classifier import Classifier
from ..series import MIN_PACKETS, SeriesBatch

_PROTOCOLS = {6: "tcp", 17: "udp"}
#: Windows that are classified between two looks at the progress: a multiple of what the classifier takes at a time.
_STEP = 1024


class Row(NamedTuple):
    """One row; a field that is unset in the log is None, as a kind is where the model says none.

    Attributes:
        ts: µs since 1970, the window's first payload packet.
        packets: payload packets in the window.
        status: ``ok``, or ``too_short`` for fewer than 4 payload packets: no verdict.
        latency: always None, as nobody waited: only Zeek on live traffic has one.
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
    capture: str


def rows(
    capture: Capture, name: str, classifier: Classifier, progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[Row]:
    """One row for each window with payload, in order of time.

    Args:
        name: what the capture is called in them.
        progress: called now and then with the windows that have been classified, and all that will be.
    """
    windows, connections = capture.windows, capture.connections
    enough = windows.series.lengths >= MIN_PACKETS
    answers = _answers(windows.series[enough], classifier, progress)
    # Addresses and uids of connections are text made once, though a connection may have several windows.
    used, index = np.unique(windows.connection, return_inverse=True)
    about = [
        (connections.uid(i), orig_h, orig_p, resp_h, resp_p, _PROTOCOLS[proto])
        for i, (orig_h, orig_p, resp_h, resp_p, proto) in zip(used.tolist(), _addresses(connections, used), strict=True)
    ]
    for ts, connection, window, packets, answered in zip(
        windows.ts.tolist(),
        index.tolist(),
        windows.window.tolist(),
        windows.series.lengths.tolist(),
        enough.tolist(),
        strict=True,
    ):
        said = (*next(answers), "ok", None, classifier.model) if answered else (*[None] * 7, "too_short", None, None)
        yield Row._make((ts, *about[connection], window, packets, *said, name))


def _answers(
    series: SeriesBatch, classifier: Classifier, progress: Callable[[int, int], None]
) -> Iterator[tuple[Any, ...]]:
    """Service, application, malicious, their scores, and the kind, of each window."""
    for start in range(0, len(series), _STEP):
        progress(start, len(series))
        verdicts = classifier.classify(series[start : start + _STEP])
        yield from zip(
            verdicts.service,
            verdicts.service_score.tolist(),
            verdicts.application,
            verdicts.application_score.tolist(),
            verdicts.malicious.tolist(),
            verdicts.malicious_score.tolist(),
            (kind or None for kind in verdicts.malicious_kind),
            strict=True,
        )


def _addresses(connections: Connections, used: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """orig_h, orig_p, resp_h, resp_p, proto of each of the connections ``used``."""
    orig_h, resp_h = connections.addresses(used)
    return zip(
        orig_h,
        connections.orig_p[used].tolist(),
        resp_h,
        connections.resp_p[used].tolist(),
        connections.proto[used].tolist(),
        strict=True,
    )
