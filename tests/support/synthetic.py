"""A data set of made windows that a tiny network can learn, and that network."""

import numpy as np

from mmtt_agent.series import SeriesBatch
from mmtt_model.data import dataset

TINY = {
    "name": "tiny",
    "architecture": {"width": 16, "heads": 2, "feed_forward": 16, "text_layers": 1, "image_layers": 1},
    "training": {"epochs": 3, "windows": 160, "batch": 32, "learning_rate": 0.01},
    "evaluation": {"seeds": 2, "site_folds": 2, "class_folds": 2},
}


def synthetic(n_captures=30, windows=8):
    """Two kinds of captures: small packets and long waits, large packets and short waits."""
    rng = np.random.default_rng(0)
    sizes, times, labels, capture = [], [], [], []
    for c in range(n_captures):
        for _ in range(windows):
            length = int(rng.integers(4, 20))
            big = c % 2
            sizes.append((rng.integers(900, 1400, length) if big else -rng.integers(10, 90, length)).tolist())
            times.append(np.cumsum([0, *rng.integers(1, 50 if big else 10**6, length - 1)]).tolist())
            labels.append(big)
            capture.append(c)
    labels, capture = np.array(labels), np.array(capture)
    split = np.array([0, 0, 0, 0, 1, 1, 2, 2])[capture % 8]
    missing = np.where(np.arange(len(labels)) % 3, labels, dataset.MISSING)
    n = len(labels)
    return dataset.Dataset(
        series=SeriesBatch.from_lists(sizes, times),
        timed=np.arange(n) % 11 != 0,
        window=(np.arange(n) % 4).astype(np.uint8),
        service=labels,
        application=missing,
        malicious=labels.copy(),
        malicious_kind=np.where(labels == 1, capture // 2 % 2, dataset.MISSING),
        service_by=np.zeros(n, np.uint8),
        application_by=np.ones(n, np.uint8),
        transport=(np.arange(n) % 4).astype(np.uint8),
        capture=capture,
        recording=capture.copy(),
        site=capture.copy(),
        split=split,
        scored=np.ones(n, bool),
        services=["chat", "streaming"],
        applications={"Talk": ["chat"], "Watch": ["streaming"]},
        kinds=["scan", "tunnel"],
        captures=[f"c{i}" for i in range(n_captures)],
        sources=[f"repository{c % 6}" for c in range(n_captures)],
        sites=[f"site{c}" for c in range(n_captures)],
        report={
            "split_by": "site", "site_of": [f"site{c}" for c in range(n_captures)],
            "counts": {"windows": n}, "unreadable": [], "captures": n_captures, "copies": 0, "copied_captures": 0,
            "licences": {f"repository{each}": ["MIT"] for each in range(6)},
            "dropped_services": {"gaming": 1}, "dropped_applications": {"Rare": 2},
        },
    )  # fmt: skip
