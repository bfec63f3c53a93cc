"""Scores of a real network, half of whose captures the thresholds were not chosen by."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from places import ROOT
from program import mmtt

from mmtt_agent import logs
from mmtt_agent.learn.budget import STEPS, Events, notices, propose

CAPTURES = ROOT.parent / "shared" / "data" / "captures" / "benign" / "aucad+sensor-data" / "iot-sentinel"
DAYS = 3


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> list[list[dict]]:
    """The rows of each: 27 kinds of devices of one lab, each installed some ten times."""
    if not CAPTURES.is_dir():
        pytest.skip("../shared/data is not there")
    out = tmp_path_factory.mktemp("logs")
    assert mmtt("classify", "-o", out, CAPTURES).returncode == 0
    rows: dict[str, list[dict]] = defaultdict(list)
    for row in logs.records(out / "mmtt.log", logs.Damaged()):
        if "malicious_score" in row:
            rows[row["capture"]].append(row)
    return [*rows.values()]


def laid_out(captures: list[list[dict]], services: list[str]) -> Events:
    """One after the other, over some days."""
    each = DAYS * 86_400_000_000 // len(captures)
    alike: dict[tuple, int] = {}
    rows = []
    for number, capture in enumerate(captures):
        begin = min(row["ts"] for row in capture)
        for row in capture:
            label = row["application"] if row["application"] != "unknown" else row["service"]
            same = alike.setdefault((row["id.resp_h"], label), len(alike))
            score = round(row["malicious_score"] * STEPS)
            rows.append((number * each + row["ts"] - begin, score, services.index(row["service"]), same))
    return Events(*np.array(rows, np.int64).T, services).in_order()


def test_the_other_half_has_about_as_many(captures):
    services = sorted({row["service"] for capture in captures for row in capture})
    factors = []
    for seed in range(8):
        is_known = np.random.default_rng(seed).permutation(len(captures)) < len(captures) / 2
        known, later = (
            laid_out([each for each, here in zip(captures, is_known, strict=True) if here == half], services)
            for half in (True, False)
        )
        found = propose(known, 20 * DAYS)
        was_seen = np.isin(np.arange(len(services)), known.of)
        thresholds = np.where(was_seen, found.thresholds, found.others)
        factors.append(len(notices(later, thresholds)) / (20 * DAYS))
    assert 1 / 1.5 < np.median(factors) < 1.5
    assert np.mean([1 / 1.5 < factor < 1.5 for factor in factors]) >= 0.75
