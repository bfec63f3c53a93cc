"""A site in small: days of windows of a few kinds, as an agent records them, Zeek's logs of them, and a bundle."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny_bundle import make_bundle, network

from mmtt_agent import bundle as bundles
from mmtt_agent.classifier import Classifier
from mmtt_agent.record import Batch, Recorder
from mmtt_agent.series import SeriesBatch

WIDTH = 16
#: 2026-11-02, in µs.
BEGIN = 1_793_577_600_000_000
HOUR = 3_600_000_000
#: Sizes of the packets of each kind of flow, which are told apart by nothing else.
KINDS = {
    "erp": [120, -300, 120, -300, 130, -320],
    "files": [900, -1400, -1400, -1400, -1400, -1400],
    "camera": [60, -700, -700, -60, -700, -700],
}
_TYPES = {"ts": "time", "id.resp_p": "port", "id.orig_p": "port", "answers": "vector[string]"}


def embedding_bundle(directory: Path, **changes: Any) -> Path:
    """A bundle whose network gives embeddings."""
    return make_bundle(directory, network(embedding=WIDTH), **changes)


def series(kinds: list[str], seed: int = 1) -> SeriesBatch:
    """A window of each of these kinds, none like another."""
    random = np.random.default_rng(seed)
    sizes = [[int(size + np.sign(size) * random.integers(0, 12)) for size in KINDS[kind]] for kind in kinds]
    times = [np.cumsum([0, *random.integers(1000, 90_000, len(each) - 1)]).tolist() for each in sizes]
    return SeriesBatch.from_lists(sizes, times)


class Site:
    """Its flows in order of time: ``kinds``, ``uids``, and ``ts`` in µs. ``windows`` and ``logs`` are directories."""

    def __init__(self, directory: Path, flows: int = 150, kinds: list[str] | None = None) -> None:
        self.windows, self.logs = directory / "windows", directory / "logs"
        random = np.random.default_rng(4)
        self.kinds = kinds or random.choice([*KINDS], flows).tolist()
        self.uids = [f"C{number:06d}{kind}" for number, kind in enumerate(self.kinds)]
        self.ts = [BEGIN + number * HOUR // 10 for number in range(len(self.kinds))]
        self.series = series(self.kinds)

    def record(self, bundle: Path) -> None:
        """As an agent of that bundle does."""
        verdicts = Classifier(bundles.load(bundle), embeds=True).classify(self.series)
        recorder = Recorder(self.windows, "agent", None, None, print)
        n, ts = len(self.uids), np.array(self.ts)
        recorder.put(Batch(self.uids, [0] * n, ts, self.series, verdicts, [""] * n, "tiny"))
        recorder.close()
        assert recorder.recorded == n

    def connections(self) -> list[dict[str, Any]]:
        """conn.log."""
        return [
            {
                "ts": ts,
                "uid": uid,
                "id.orig_h": "10.0.0.1",
                "id.orig_p": 5000,
                "id.resp_h": f"192.0.2.{[*KINDS].index(kind)}",
                "id.resp_p": 443,
                "proto": "tcp",
                "service": "ssl",
            }
            for uid, kind, ts in zip(self.uids, self.kinds, self.ts, strict=True)
        ]

    def handshakes(self) -> list[dict[str, Any]]:
        """ssl.log."""
        return [
            {"ts": ts, "uid": uid, "server_name": f"{kind}.intra.example.org"}
            for uid, kind, ts in zip(self.uids, self.kinds, self.ts, strict=True)
        ]

    def log(self, rows: list[dict[str, Any]], name: str, form: str = "tsv") -> None:
        """Write a log as Zeek does; packed where its name ends so. Times are µs since 1970."""
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (
            _tsv(rows) if form == "tsv" else "".join(json.dumps(row | {"ts": row["ts"] / 1e6}) + "\n" for row in rows)
        )
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())

    def write_logs(self) -> None:
        self.log(self.connections(), "conn.log")
        self.log(self.handshakes(), "ssl.log")


def _tsv(rows: list[dict[str, Any]]) -> str:
    names = [*rows[0]]
    head = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-"]
    head += ["#fields\t" + "\t".join(names), "#types\t" + "\t".join(_TYPES.get(name, "string") for name in names)]
    lines = ["\t".join(_word(name, row.get(name)) for name in names) for row in rows]
    return "\n".join([*head, *lines, ""])


def _word(name: str, value: Any) -> str:
    if name == "ts":
        return f"{value // 1_000_000}.{value % 1_000_000:06d}"
    return "-" if value is None else ",".join(value) if isinstance(value, list) else str(value)
