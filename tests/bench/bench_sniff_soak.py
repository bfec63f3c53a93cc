"""Hours of live traffic before `mmtt sniff`: does the memory stay flat, and is every connection accounted for?

    python tests/bench/bench_sniff_soak.py [--flows 1000000] [--hours 1] [--workers 1] [--keep DIR]

Needs root and Zeek's test bed (tests/sensor/bed.py). Connections are made up and sent into a virtual link.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[1] / "sensor"))
from bed import Bed, missing, wait_for

_EVERY = 30.0
_BAR = 400
_PROGRAM = "from mmtt_agent.cli import main; main()"


def status(bed: Bed) -> dict:
    """What the program says of itself."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:27760/status').read().decode())"
    command = ["ip", "netns", "exec", bed.name, sys.executable, "-c", ask]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def memory(process: subprocess.Popen) -> float:
    """MB, of the program and all below it, pages that they share counted once; the ring among them."""
    below, found = [process.pid], 0.0
    for pid in below:
        below += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        found += int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1]) / 1000
    return found


def rows(log: Path) -> Iterator[tuple[str, str, str]]:
    """The uid, window and status of each row, in turn."""
    fields: list[str] = []
    with log.open() as lines:
        for line in lines:
            if line.startswith("#fields"):
                fields = line.split()[1:]
            elif not line.startswith("#"):
                row = dict(zip(fields, line.rstrip("\n").split("\t"), strict=True))
                yield row["uid"], row["window"], row["status"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="keep the logs there")
    options = parser.parse_args()
    if why := missing():
        sys.exit(f"bench_sniff_soak.py: {why}")
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.keep or Path(temporary)
        logs = directory / "logs"
        with Bed(directory) as bed:
            sniff = bed.start(
                "sniff", sys.executable, "-c", _PROGRAM, "sniff", "-i", "seen", "-C", "-o", logs, "--user", "root",
                "--workers", options.workers,
            )  # fmt: skip
            wait_for(lambda: "listening on" in bed.said("sniff"), 60, "mmtt sniff")
            seconds = options.hours * 3600
            end = bed.traffic(options.flows, options.flows / seconds, "traffic", "--packets", 5, 34)
            samples, begun = [], time.monotonic()
            while bed.running["traffic"].poll() is None:
                time.sleep(min(_EVERY, seconds / 20))
                samples.append(memory(sniff))
                capture = status(bed)["capture"]
                print(
                    f"{(time.monotonic() - begun) / 60:5.1f} min: {capture['packets']:,} packets, "
                    f"{capture['dropped']:,} dropped, {samples[-1]:.0f} MB", file=sys.stderr, flush=True,
                )  # fmt: skip
            sent = end()
            capture = status(bed)["capture"]
            bed.stop("sniff", seconds=120)
            said = bed.said("sniff").splitlines()[-3:]
        seen: Counter[str] = Counter()
        twice, first = 0, set()
        for uid, window, how in rows(logs / "mmtt.log"):
            seen[how] += 1
            twice += (uid, window) in first
            first.add((uid, window))
        connections = len({uid for uid, _ in first})
    flat = "met" if max(samples) <= _BAR else "MISSED"
    part = max(1, len(samples) // 10)
    early, late = mean(samples[part : 2 * part]), mean(samples[-part:])
    for name, value in (
        ("connections sent", f"{sent['flows']:,}, {sent['packets']:,} packets, in {sent['seconds'] / 60:.1f} min"),
        ("packets seen; dropped by the kernel", f"{capture['packets']:,}; {capture['dropped']:,}"),
        ("connections with rows in mmtt.log", f"{connections:,}"),
        ("rows", ", ".join(f"{status} {n:,}" for status, n in seen.most_common())),
        ("windows with two rows", f"{twice:,}"),
        (
            "memory, with workers",
            f"{early:.0f} MB in the second tenth, {late:.0f} in the last, {max(samples):.0f} at most: {_BAR} {flat}",
        ),
        ("it said last", " / ".join(said)),
    ):
        print(f"{name:38}{value}")


if __name__ == "__main__":
    main()
