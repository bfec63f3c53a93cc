"""How long `mmtt learn fit` takes on a large memory, and how much room: made-up days of a site with many names.

    python tests/bench/bench_learn.py [--windows 500000] [--names 60] [--bundle DIR] [--directory DIR]

The windows are those of the captures in tests/data, each name a few of them, made others, with noise; ssl.log names
nine of ten. The memory is made in a directory of its own that is removed in the end; with --directory it is made there,
kept, and used again.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mmtt_agent import whole
from mmtt_agent.capture import read_capture
from mmtt_agent.classifier import Verdicts
from mmtt_agent.record import rows
from mmtt_agent.record.parts import HOUR, named
from mmtt_agent.series import MIN_PACKETS, SeriesBatch

DATA = Path(__file__).parents[1] / "data"
#: Windows of a part, as the agent writes some in a few minutes.
PART = 10_000
WIDTH = 256
SERVICES = ("web", "file_transfer", "messaging", "email", "media")
#: Of windows, of each name.
KINDS = 4
#: 2026-11-02, in µs, and how long the memory is.
BEGIN, DAYS = 1_793_577_600_000_000, 14
#: Seconds and MB that it may take.
_BAR = 600, 1000


def recorded() -> SeriesBatch:
    """The windows of the captures in tests/data that get a verdict."""
    found = SeriesBatch.concatenate([read_capture(path).windows.series for path in sorted(DATA.glob("*.pcap"))])
    return found[np.flatnonzero(found.lengths >= MIN_PACKETS)]


def make(directory: Path, windows: int, names: int, random: np.random.Generator) -> None:
    """``windows`` in the directory of that name, and Zeek's logs in ``logs``."""
    # Some names have a thousand times as many windows as others, and each name a few kinds of them.
    often = np.geomspace(1, 1e-3, names)
    real = recorded()
    kinds = noisy(real[random.integers(0, len(real), names * KINDS)], random, 0.4)
    (directory / "logs").mkdir(parents=True)
    with (directory / "logs/conn.log").open("w") as conn, (directory / "logs/ssl.log").open("w") as ssl:
        head = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"
        ends = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
        kind_of = ("time", "string", "addr", "port", "addr", "port")
        more = ("proto", "service", "duration", "orig_bytes", "resp_bytes")
        conn.write(f"{head}#fields\t{tab(ends + more)}\n#types\t{tab(kind_of)}\tenum\tstring\tinterval\tcount\tcount\n")
        ssl.write(f"{head}#fields\t{tab(ends)}\tversion\tserver_name\n#types\t{tab(kind_of)}\tstring\tstring\n")
        for number, start in enumerate(range(0, windows, PART)):
            n = min(PART, windows - start)
            name = random.choice(names, n, p=often / often.sum())
            series = noisy(kinds[name * KINDS + random.integers(0, KINDS, n)], random, 0.02)
            ts = np.sort(BEGIN + (start + random.random(n) * n) / windows * DAYS * 86_400e6).astype(np.int64)
            uid = [f"C{start + row:07x}{row:09x}" for row in range(n)]
            for row in range(n):
                end = (
                    f"{ts[row] / 1e6:.6f}\t{uid[row]}\t10.0.0.{row % 250}\t{row + 1024}\t192.0.2.{name[row] % 250}\t443"
                )
                conn.write(f"{end}\ttcp\tssl\t1.5\t1000\t20000\n")
                if random.random() < 0.9:
                    ssl.write(f"{end}\tTLSv13\tapp{name[row]}.intra.example.org\n")
            part = rows.encode([rows.table([batch(uid, ts, series, random)])])
            path = named(directory / "windows", int(ts[0] // HOUR), "made", number)
            path.parent.mkdir(parents=True, exist_ok=True)
            whole.write(path, memoryview(part))
    domains = [
        f"  app{name}.intra.example.org: {{service: {SERVICES[name % len(SERVICES)]}, application: App {name}}}\n"
        for name in range(names)
    ]
    (directory / "windows/site.yaml").write_text("domains:\n" + "".join(domains))


def tab(words: tuple[str, ...]) -> str:
    return "\t".join(words)


def noisy(series: SeriesBatch, random: np.random.Generator, much: float) -> SeriesBatch:
    """The same with sizes and times that are other by about so much."""
    sizes = np.abs(series.sizes) * random.normal(1, much, series.sizes.shape)
    times = series.times * random.normal(1, much, (len(series), 1)).clip(0.1, 2)
    return SeriesBatch(
        (np.sign(series.sizes) * sizes.clip(1, 1460)).astype(np.int32), times.astype(np.int32), series.lengths
    )


def batch(uid: list[str], ts: np.ndarray, series: SeriesBatch, random: np.random.Generator) -> rows.Batch:
    """With verdicts that say nothing: learning asks the network itself."""
    n = len(uid)
    unsure = np.full(n, 0.3)
    verdicts = Verdicts(
        ["web"] * n, unsure, ["unknown"] * n, unsure, np.zeros(n, bool), np.zeros(n), [""] * n, np.full(n, -5.0),
        np.zeros((n, 0)), np.zeros((n, 16), np.float32), random.normal(0, 1, (n, WIDTH)).astype(np.float32),
    )  # fmt: skip
    return rows.Batch(uid, [0] * n, ts, series, verdicts, [""] * n, "made@00000000")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=500_000)
    parser.add_argument("--names", type=int, default=60)
    parser.add_argument("--bundle", help="the network to build on; without it, the shipped one")
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        directory = options.directory or Path(aside) / "site"
        if not (directory / "windows/site.yaml").exists():
            make(directory, options.windows, options.names, np.random.default_rng(1))
        size = sum(each.stat().st_size for each in directory.rglob("*.parquet")) / 1e6
        print(f"{options.windows:,} windows of {options.names} names, {size:.0f} MB", flush=True)
        command = [
            sys.executable, "-c", "from mmtt_agent.cli import main; main()", "learn", "fit", "--force",
            "--windows", directory / "windows", "--logs", directory / "logs", "-o", Path(aside) / "bundle",
            *(["--bundle", options.bundle] if options.bundle else []),
        ]  # fmt: skip
        begun = time.monotonic()
        done = subprocess.run([*map(str, command)], stdout=subprocess.DEVNULL, check=False)
        seconds, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{seconds:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of CPU on {os.cpu_count()} cores, "
        f"{used.ru_maxrss * 1024 / 1e6:.0f} MB at most (bar: {_BAR[0]} s, {_BAR[1]} MB)"
    )
    return done.returncode or int(seconds > _BAR[0] or used.ru_maxrss * 1024 / 1e6 > _BAR[1])


if __name__ == "__main__":
    sys.exit(main())
