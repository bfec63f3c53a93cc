"""Hours of live traffic: does the memory stay flat, and is every connection accounted for in the logs?

    python tests/bench/bench_soak.py [--flows 2000000] [--hours 1] [--keep DIR]

Needs root and Zeek. Connections are made up and sent into a virtual link that a real Zeek with the package watches, an
agent beside it. Zeek rotates its logs every ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import mean

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "sensor"))
from bed import Bed, by_status, missing, read_log, resident

_EVERY = 30.0
_BAR = 400


def accounts(folder: Path) -> list[tuple[str, str]]:
    """From the logs: rows of the table."""
    seen: Counter[str] = Counter()
    first, twice, latencies, hosts = set(), 0, [], set()
    for log in sorted(folder.glob("mmtt*.log")):
        for row in read_log(log):
            seen[row["status"]] += 1
            twice += (key := (row["uid"], row["window"])) in first
            first.add(key)
            hosts.add(row["uid"])
            if row["latency"] != "-":
                latencies.append(float(row["latency"]))
    connections = empty = absent = without = 0
    for log in sorted(folder.glob("conn*.log")):
        for row in read_log(log):
            if row["proto"] != "tcp":
                continue
            connections += 1
            # Where packets are dropped, Zeek sees connections without any of their payload.
            if "d" not in row["history"].lower():
                empty += 1
                continue
            absent += row["uid"] not in hosts
            without += row["mmtt_service"] == "-"
    p50, p99 = (np.quantile(latencies, (0.5, 0.99)) * 1e3).tolist() if latencies else (0, 0)
    return [
        ("connections in conn.log", f"{connections:,}"),
        ("… of which Zeek saw no payload", f"{empty:,}"),
        ("… others without a row in mmtt.log", f"{absent:,}"),
        ("… others without a verdict there", f"{without:,}"),
        ("rows in mmtt.log", ", ".join(f"{status} {n:,}" for status, n in seen.most_common())),
        ("windows with two rows", f"{twice:,}"),
        ("latency", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=2_000_000)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="keep the logs there")
    options = parser.parse_args()
    if why := missing():
        sys.exit(f"bench_soak.py: {why}")
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        with Bed(directory) as bed:
            zeek = bed.zeek(script="redef Log::default_rotation_interval = 10min;")
            agent = bed.agent("agent")
            time.sleep(2)
            seconds = options.hours * 3600
            end = bed.traffic(options.flows, options.flows / seconds, "traffic", "--packets", 5, 34)
            samples, begun = [], time.monotonic()
            while bed.running["traffic"].poll() is None:
                time.sleep(min(_EVERY, seconds / 20))
                samples.append((resident(agent), resident(zeek)))
                counts = bed.metrics()
                print(
                    f"{(time.monotonic() - begun) / 60:5.1f} min: {counts['mmtt_windows_total ok']:,.0f} verdicts, "
                    f"agent {samples[-1][0]:.0f} MB, Zeek {samples[-1][1]:.0f} MB", file=sys.stderr, flush=True,
                )  # fmt: skip
            sent = end()
            # Zeek keeps a connection for some seconds after its end, and rows wait for their answers.
            time.sleep(15)
            counts = bed.metrics()
            bed.stop("zeek")
            bed.stop("agent")
            dropped = next(
                (line.split(": ", 1)[1] for line in bed.said("zeek").splitlines() if " dropped" in line), "?"
            )
        part = max(1, len(samples) // 10)
        minutes = sent["seconds"] / 60
        rows = [
            ("connections sent", f"{sent['flows']:,}, {sent['packets']:,} packets, in {minutes:.1f} min"),
            ("of these packets", dropped),
            *accounts(directory / "zeek"),
            ("the same by telemetry", ", ".join(f"{status} {n:,.0f}" for status, n in by_status(counts).items())),
        ]
        for place, name in enumerate(("agent", "Zeek")):
            sizes = [sample[place] for sample in samples]
            # The start is no measure: caches fill, and connections wait for their time-outs.
            early, late = mean(sizes[part : 2 * part]), mean(sizes[-part:])
            remark = ("; bar 400 MB: " + ("met" if max(sizes) <= _BAR else "MISSED")) if name == "agent" else ""
            spent = f"{early:.0f} MB in the second tenth, {late:.0f} in the last ({late / early:.3f}), "
            rows.append((f"memory of {name}", f"{spent}at most {max(sizes):.0f}{remark}"))
        for name, value in rows:
            print(f"{name:34}{value}")


if __name__ == "__main__":
    main()
