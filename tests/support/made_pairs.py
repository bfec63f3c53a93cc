"""Made connections: sites whose attackers guess at one port, often and with a high score, and whose others don't."""

import numpy as np

from mmtt_agent.series import SeriesBatch
from mmtt_model.data.pairs import Pairs
from mmtt_model.incidents.answers import Answers


def made(n_sites=24, seed=1):
    """Each site has a capture with harmless pairs and, every other, one with a guesser. Returns the pairs, and answers
    of four networks, the last for the test's sites."""
    rng = np.random.default_rng(seed)
    rows, captures, sites = [], [], []
    for site in range(n_sites):
        for bad in (0, 1)[: 1 + site % 2]:
            capture = len(captures)
            captures.append(f"{site}-{bad}.pcap")
            sites.append(f"site{site}")
            for pair in range(6):
                attack = bad and pair < 3
                for number in range(int(rng.integers(8, 20)) if attack else int(rng.integers(1, 4))):
                    odds = rng.normal(0.5 if attack else -2.5, 1.0)
                    start = 10_000_000 * number + int(rng.integers(0, 5_000_000))
                    rows.append((capture, bad * pair, 10 + pair, 22 if attack else 443, start, int(attack), odds))
    rows.sort(key=lambda row: (row[0], row[4]))
    capture, orig, resp, port, start, label, odds = (np.array(column) for column in zip(*rows, strict=True))
    many = len(rows)
    # Every fifth connection is too short for a verdict.
    short = np.arange(many) % 5 == 4
    windows = np.flatnonzero(~short)
    pairs = Pairs(
        key="made",
        captures=captures,
        sites=sites,
        hours=np.full(len(captures), 10.0),
        split=np.zeros(len(captures), np.int64),
        hosts=[f"10.0.0.{host}" for host in range(20)],
        capture=capture,
        orig=orig,
        resp=resp,
        resp_p=port,
        protocol=np.full(many, 6, np.uint8),
        start=start,
        failed=np.zeros(many, bool),
        short=short,
        connection=windows,
        window=np.zeros(len(windows), np.uint8),
        ts=start[windows] + 1,
        series=SeriesBatch.from_lists([[100, -200, 100, -50]] * len(windows), [[0, 1, 2, 3]] * len(windows)),
        malicious=label[windows],
        kind=np.where(label[windows] == 1, 0, -1),
        transport=np.where(label[windows] == 1, 3, 1).astype(np.uint8),
    )
    part = np.array([int(name.removeprefix("site")) // 2 % 4 for name in sites])
    logits = {"malicious": odds[windows].astype(np.float32), "malicious_kind": np.zeros((len(windows), 2), np.float32)}
    return pairs, Answers(part, logits)


TEMPERATURES = {"malicious": 1.0, "malicious_kind": 1.0}
KINDS = ["brute_force", "scan"]
