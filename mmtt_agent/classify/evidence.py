"""What windows and connections are evidence of; a capture's, handed to a tracker in order of time, as Zeek would have
reported it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..capture import Capture, Connections, Windows
from ..capture.live import Found
from ..classifier import Verdicts
from ..community_id import NUMBERS, community_id
from ..incidents import EPOCH, Flows, Incident, Tracker, Try
from ..series import MIN_PACKETS

_PROTOCOLS = {6: "tcp", 17: "udp"}


class About(NamedTuple):
    """A connection, as logs have it."""

    uid: str
    orig_h: str
    orig_p: int
    resp_h: str
    resp_p: int
    proto: str

    def community_id(self, seed: int) -> str:
        return community_id(NUMBERS[self.proto], self.orig_h, self.orig_p, self.resp_h, self.resp_p, seed)


class Evidence:
    """One capture's.

    Args:
        tracker: one that has taken in nothing yet, where a capture stands for itself.
    """

    def __init__(self, capture: Capture | Found, tracker: Tracker) -> None:
        self._tracker = tracker
        self._capture = capture
        self._tries = tries(capture.connections, capture.windows)

    def flows(
        self, windows: np.ndarray, connections: Sequence[About], verdicts: Verdicts
    ) -> tuple[list[str], list[Incident]]:
        """Take in windows with a verdict.

        Args:
            windows: int64 ``(n,)``, rows of ``capture.windows``, in order; of all calls, too.
            connections: of each window.
            verdicts: of these windows.

        Returns:
            The id of the incident that each belongs to, or "", and what has been found since the last time.
        """
        found = flows(self._capture.windows, windows, connections, verdicts)
        # All that began until then, so that nothing comes later than Zeek would have told of it.
        self._tell_tries(int(found.ts[-1]))
        return self._tracker.flows(found), self._tracker.advance()

    def end(self, goes_on: bool = False) -> list[Incident]:
        """What is found when the capture ends; ``goes_on``: and more is to come after it."""
        self._tell_tries(None)
        return self._tracker.advance() if goes_on else self._tracker.end()

    def _tell_tries(self, until: int | None) -> None:
        told = 0
        while told < len(self._tries) and (until is None or self._tries[told].ts <= until):
            told += 1
        self._tracker.tries(self._tries[:told])
        del self._tries[:told]


def about(connections: Connections, rows: np.ndarray) -> list[About]:
    """The connections ``rows``, int64 ``(n,)``."""
    orig_h, resp_h = connections.addresses(rows)
    return [
        About(connections.uid(row), orig, orig_p, resp, resp_p, _PROTOCOLS[proto])
        for row, orig, orig_p, resp, resp_p, proto in zip(
            rows.tolist(),
            orig_h,
            connections.orig_p[rows].tolist(),
            resp_h,
            connections.resp_p[rows].tolist(),
            connections.proto[rows].tolist(),
            strict=True,
        )
    ]


def flows(windows: Windows, rows: np.ndarray, connections: Sequence[About], verdicts: Verdicts) -> Flows:
    """The windows ``rows``, int64 ``(n,)``, as evidence; ``connections`` and ``verdicts`` are theirs."""
    orig_bytes, resp_bytes = windows.series[rows].payload()
    return Flows(
        ts=windows.ts[rows],
        orig=[each.orig_h for each in connections],
        resp=[each.resp_h for each in connections],
        resp_p=[f"{each.resp_p}/{each.proto}" for each in connections],
        uid=[each.uid for each in connections],
        window=windows.window[rows].tolist(),
        log_odds=verdicts.log_odds,
        kinds=verdicts.kind_scores,
        likeness=verdicts.likeness,
        orig_bytes=orig_bytes,
        resp_bytes=resp_bytes,
    )


def tries(table: Connections, windows: Windows) -> list[Try]:
    """Connections without a verdict, in order of time: those of a pair and an epoch, which are judged together, as one.

    A connection that came to nothing counts from its first packet, one that was too short from its first with payload,
    as that is when a window with a verdict would have counted from.
    """
    failed = np.flatnonzero(table.failed)
    short = np.flatnonzero((windows.window == 0) & (windows.series.lengths < MIN_PACKETS))
    ts = np.concatenate([table.ts[failed], windows.ts[short]])
    order = np.argsort(ts, kind="stable")
    came_to_nothing = (np.arange(len(ts)) < len(failed))[order].tolist()
    used, index = np.unique(np.concatenate([failed, windows.connection[short]])[order], return_inverse=True)
    columns = (*table.addresses(used), table.resp_p[used].tolist(), table.proto[used].tolist())
    pairs = [(orig, resp, f"{port}/{_PROTOCOLS[proto]}") for orig, resp, port, proto in zip(*columns, strict=True)]
    counted: dict[tuple[str, str, str, int], list[int]] = {}
    for at, connection, failing in zip(ts[order].tolist(), index.tolist(), came_to_nothing, strict=True):
        counted.setdefault((*pairs[connection], at // EPOCH), [at, 0, 0])[1 if failing else 2] += 1
    return [
        Try(at, orig, resp, resp_p, failing, too_short)
        for (orig, resp, resp_p, _), (at, failing, too_short) in counted.items()
    ]
