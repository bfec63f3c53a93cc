"""A capture's windows and their verdicts as rows of ``mmtt.log``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..capture import Capture
from ..classifier import Classifier
from ..series import MIN_PACKETS

_PROTOCOLS = {6: "tcp", 17: "udp"}


class Row(NamedTuple):
    """One row; a field that is unset in the log is None.

    Attributes:
        ts: µs since 1970, the window's first payload packet.
        packets: payload packets in the window.
        status: ``ok``, or ``too_short`` for fewer than 4 payload packets: no verdict.
        latency: always None, as nobody waited: only Zeek on live traffic has one.
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
    status: str
    latency: None
    model: str | None


def rows(capture: Capture, classifier: Classifier) -> Iterator[Row]:
    """One row for each window with payload, in order of time."""
    windows, connections = capture.windows, capture.connections
    enough = windows.series.lengths >= MIN_PACKETS
    verdicts = classifier.classify(windows.series[enough])
    answers = zip(
        verdicts.service,
        verdicts.service_score.tolist(),
        verdicts.application,
        verdicts.application_score.tolist(),
        verdicts.malicious.tolist(),
        verdicts.malicious_score.tolist(),
    )
    # Addresses and uids of connections are text made once, though a connection may have several windows.
    used, index = np.unique(windows.connection, return_inverse=True)
    about = [
        (connections.uid(i), orig_h, orig_p, resp_h, resp_p, _PROTOCOLS[proto])
        for i, orig_h, orig_p, resp_h, resp_p, proto in zip(
            used.tolist(),
            *_addresses(connections, used),
            strict=True,
        )
    ]
    for ts, connection, window, packets, answered in zip(
        windows.ts.tolist(),
        index.tolist(),
        windows.window.tolist(),
        windows.series.lengths.tolist(),
        enough.tolist(),
    ):
        if answered:
            yield Row(ts, *about[connection], window, packets, *next(answers), "ok", None, classifier.model)
        else:
            yield Row(ts, *about[connection], window, packets, *[None] * 6, "too_short", None, None)


def _addresses(connections, used: np.ndarray) -> tuple[list, ...]:
    """Columns orig_h, orig_p, resp_h, resp_p, proto of the connections ``used``."""
    orig_h, resp_h = connections.addresses(used)
    return (
        orig_h,
        connections.orig_p[used].tolist(),
        resp_h,
        connections.resp_p[used].tolist(),
        connections.proto[used].tolist(),
    )
