"""What goes in and comes out: flows with a verdict, connections without one, incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Microseconds since 1970 before which all times are, even those of a capture with a damaged clock.
LATEST = 4 * 10**18
#: More connections than one can tell of.
MANY = 10**9


@dataclass(frozen=True, slots=True)
class Flows:
    """``n`` windows that have a verdict.

    Attributes:
        ts: int64 ``(n,)``, microseconds since 1970, the window's first packet with payload.
        orig, resp: who talks with whom: addresses, or a sensor's hashes of them. Those of a window without are empty:
            it is no evidence.
        resp_p: the responder's port, such as "443/tcp".
        uid, window: which connection and which of its windows.
        log_odds: float64 ``(n,)``, calibrated log-odds that the window is malicious.
        kinds: float ``(n, kinds)``, how likely it is of each kind if it is.
        likeness: float32 ``(n, 16)``, unit vectors; what the network takes for alike has a high product.
        orig_bytes, resp_bytes: int64 ``(n,)``, payload of the window each way.
    """

    ts: np.ndarray
    orig: Sequence[str]
    resp: Sequence[str]
    resp_p: Sequence[str]
    uid: Sequence[str]
    window: Sequence[int]
    log_odds: np.ndarray
    kinds: np.ndarray
    likeness: np.ndarray
    orig_bytes: np.ndarray
    resp_bytes: np.ndarray

    def __len__(self) -> int:
        return len(self.ts)

    def problem(self, kinds: int) -> str:
        """What is wrong with them, for a model of so many kinds; empty where nothing is."""
        n = len(self)
        for name in self.__slots__:
            if len(getattr(self, name)) != n:
                return f"{name} has {len(getattr(self, name))} elements, ts {n}"
        if self.ts.dtype.kind not in "iu" or self.ts.min() < 0 or self.ts.max() >= LATEST:
            return "ts must be microseconds since 1970, as integers"
        if self.kinds.shape[1:] != (kinds,):
            return f"kinds must be of shape {(n, kinds)}, not {self.kinds.shape}"
        for name in ("log_odds", "kinds", "likeness"):
            if not np.isfinite(getattr(self, name)).all():
                return f"{name} holds what is no number"
        if min(self.orig_bytes.min(), self.resp_bytes.min()) < 0:
            return "orig_bytes and resp_bytes must be at least 0"
        return ""


@dataclass(frozen=True, slots=True)
class Try:
    """Connections of a pair that carry no verdict, by count.

    Attributes:
        ts: microseconds since 1970, when the first of them began.
        failed: TCP connections that nobody answered or that were refused.
        short: connections with too few packets for a verdict.
    """

    ts: int
    orig: str
    resp: str
    resp_p: str
    failed: int
    short: int


@dataclass(frozen=True, slots=True)
class Incident:
    """A row of ``mmtt_incidents.log``.

    Attributes:
        ts: microseconds since 1970, when it was found, by the traffic's own time.
        state: "opened", "grown" or "closed".
        unit: "pair", "originator" (with many responders) or "responder" (with many originators).
        orig, resp, resp_p: None where there are many.
        kind: of the bundle's kinds; empty where nobody can be sure.
        score: how likely it is malicious, 0 to 1, rounded to 4 decimals.
        connections: with a verdict or without.
        first, last: microseconds since 1970, starts of the first and the latest.
        orig_bytes, resp_bytes: payload each way in the windows that have a verdict.
        reason: for people.
        uids: of the connections that are most suspicious.
    """

    ts: int
    id: str
    state: str
    unit: str
    orig: str | None
    resp: str | None
    resp_p: str | None
    kind: str
    score: float
    connections: int
    first: int
    last: int
    orig_bytes: int
    resp_bytes: int
    reason: str
    uids: tuple[str, ...]
