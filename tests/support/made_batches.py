"""Windows with verdicts, made up, for what records and reads them."""

from __future__ import annotations

import numpy as np

from mmtt_agent.classifier import Verdicts
from mmtt_agent.record import Batch
from mmtt_agent.series import SeriesBatch

#: 2026-11-28 13:00 UTC, in microseconds.
ONE_OCLOCK = 1_795_870_800_000_000


def batch(windows: int = 64, first: int = 0, ts: int = ONE_OCLOCK, width: int = 8, model: str = "made@1") -> Batch:
    """Windows a millisecond apart.

    Args:
        first: number of the first one; each has a uid of its own.
    """
    random = np.random.default_rng(first)
    lengths = random.integers(4, 33, windows)
    series = SeriesBatch.from_lists(
        [random.integers(-1400, -1, n).tolist() for n in lengths], [[*range(0, 10 * n, 10)] for n in lengths]
    )
    verdicts = Verdicts(
        service=["web" if each % 2 else "unknown" for each in range(windows)],
        service_score=random.random(windows).round(4),
        application=["Alpha"] * windows,
        application_score=random.random(windows).round(4),
        malicious=random.random(windows) < 0.5,
        malicious_score=random.random(windows).round(4),
        malicious_kind=["scan" if each % 3 == 0 else "" for each in range(windows)],
        log_odds=random.normal(size=windows),
        kind_scores=np.zeros((windows, 0)),
        likeness=np.zeros((windows, 16), np.float32),
        embedding=random.normal(size=(windows, width)).astype(np.float32),
    )
    uids = [f"C{first + each:017d}" for each in range(windows)]
    at = ts + 1000 * np.arange(windows)
    incidents = ["I1" if each == 1 else "" for each in range(windows)]
    return Batch(uids, [each % 4 for each in range(windows)], at, series, verdicts, incidents, model)
