"""A capture's evidence over connections, handed to a tracker in order of time, as Zeek would have reported it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..capture import Capture
from ..classifier import Verdicts
from ..incidents import EPOCH, Flows, Incident, Tracker, Try
from ..series import MIN_PACKETS

#: Zeek's names of what the numbers stand for.
PROTOCOLS = {6: "tcp", 17: "udp"}


class Evidence:
    """One capture's.

    Args:
        tracker: one that has taken in nothing yet: a capture stands for itself.
    """

    def __init__(self, capture: Capture, tracker: Tracker) -> None:
        self._tracker = tracker
        self._capture = capture
        self._tries = _tries(capture)

    def flows(self, windows: np.ndarray, uids: Sequence[str], verdicts: Verdicts) -> tuple[list[str], list[Incident]]:
        """Take in windows with a verdict.

        Args:
            windows: int64 ``(n,)``, rows of ``capture.windows``, in order; of all calls, too.
            uids: of their connections.
            verdicts: of these windows.

        Returns:
            The id of the incident that each belongs to, or "", and what has been found since the last time.
        """
        about, sizes = self._capture.windows, self._capture.windows.series.sizes[windows].astype(np.int64)
        ts = about.ts[windows]
        # All that began until then, so that nothing comes later than Zeek would have told of it.
        self._tell_tries(int(ts[-1]))
        orig, resp, resp_p = ends(self._capture, about.connection[windows])
        ids = self._tracker.flows(
            Flows(
                ts=ts,
                orig=orig,
                resp=resp,
                resp_p=resp_p,
                uid=list(uids),
                window=about.window[windows].tolist(),
                log_odds=verdicts.log_odds,
                kinds=verdicts.kind_scores,
                likeness=verdicts.likeness,
                orig_bytes=sizes.clip(min=0).sum(axis=1),
                resp_bytes=-sizes.clip(max=0).sum(axis=1),
            )
        )
        return ids, self._tracker.advance()

    def end(self) -> list[Incident]:
        """What is found when the capture ends."""
        self._tell_tries(None)
        return self._tracker.end()

    def _tell_tries(self, until: int | None) -> None:
        told = 0
        while told < len(self._tries) and (until is None or self._tries[told].ts <= until):
            told += 1
        self._tracker.tries(self._tries[:told])
        del self._tries[:told]


def ends(capture: Capture, connections: np.ndarray) -> tuple[list[str], list[str], list[str]]:
    """Originator's and responder's address, and the responder's port as in "443/tcp", of each of the connections: int64
    ``(n,)``."""
    table = capture.connections
    used, index = np.unique(connections, return_inverse=True)
    ports = [
        f"{port}/{PROTOCOLS[proto]}"
        for port, proto in zip(table.resp_p[used].tolist(), table.proto[used].tolist(), strict=True)
    ]
    orig, resp = table.addresses(used)
    rows = index.tolist()
    return [orig[i] for i in rows], [resp[i] for i in rows], [ports[i] for i in rows]


def _tries(capture: Capture) -> list[Try]:
    """Connections without a verdict, in order of time: those of a pair and an epoch, which are judged together, as one.

    A connection that came to nothing counts from its first packet, one that was too short from its first with payload,
    as that is when a window with a verdict would have counted from.
    """
    table, windows = capture.connections, capture.windows
    failed = np.flatnonzero(table.failed)
    short = np.flatnonzero((windows.window == 0) & (windows.series.lengths < MIN_PACKETS))
    ts = np.concatenate([table.ts[failed], windows.ts[short]])
    is_failed = np.arange(len(ts)) < len(failed)
    order = np.argsort(ts, kind="stable")
    of = np.concatenate([failed, windows.connection[short]])[order]
    ts, is_failed = ts[order], is_failed[order]
    counted: dict[tuple[str, str, str, int], list[int]] = {}
    for orig, resp, resp_p, at, failing in zip(*ends(capture, of), ts.tolist(), is_failed.tolist(), strict=True):
        counted.setdefault((orig, resp, resp_p, at // EPOCH), [at, 0, 0])[1 if failing else 2] += 1
    return [
        Try(at, orig, resp, resp_p, came_to_nothing, too_short)
        for (orig, resp, resp_p, _), (at, came_to_nothing, too_short) in counted.items()
    ]
