"""What the package costs Zeek: CPU and wall time with it over without it, in turns on the same captures.

Usage: ``python tests/bench/bench_zeek.py [DIRECTORY] [--runs N] [--capture FILE]``. DIRECTORY is where the captures of
``make_captures.py`` are or will be made (default: a temporary one).
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
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "zeek"))
from find_zeek import find_zeek
from make_captures import make

ROOT = Path(__file__).parents[2]


def run(zeek: Path, capture: Path, scripts: list[str], packages: Path) -> tuple[float, float]:
    """One run over a capture: CPU and wall seconds, of Zeek and all that it starts."""
    config = zeek.with_name("zeek-config")
    path = subprocess.run([config, "--zeekpath"], capture_output=True, text=True, check=True).stdout.strip()
    # The agent is the one of this Python.
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as work:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [zeek, "-r", capture.resolve(), "local", *scripts],
            cwd=work,
            env=os.environ | {"ZEEKPATH": f"{packages}:{path}", "PATH": programs},
            capture_output=True,
            text=True,
            check=False,
        )
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if done.returncode:
        sys.exit(f"bench_zeek.py: Zeek failed on {capture}: {done.stderr.strip()[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, ended - began


#: What is measured: its name, what Zeek loads beside local.zeek, and what counts.
CASES = (
    ("collecting, no agent's answers", ["mmtt/collect"], "cpu"),
    ("verdicts on everything", ["mmtt"], "wall"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where the captures are or will be made")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--capture", action="append", type=Path, default=[], help="measure on this one instead"
    )
    parser.add_argument(
        "--case", choices=[each[2] for each in CASES], help="only the one measured by CPU or by wall time"
    )
    options = parser.parse_args()
    zeek = find_zeek()
    if zeek is None:
        sys.exit("bench_zeek.py: no Zeek found; set ZEEK to the program, or put it on PATH")
    with tempfile.TemporaryDirectory() as temporary:
        packages = Path(temporary) / "packages"
        packages.mkdir()
        (packages / "mmtt").symlink_to(ROOT / "zeek-scripts")
        captures = {path.name: path for path in options.capture} or {
            path.name: path for path in make(options.directory or Path(temporary)).values()
        }
        cases = [case for case in CASES if options.case in (None, case[2])]
        print(
            f"{'capture':<12} {'':<32} {'':<5} {'without':>9} {'with':>9} {'ratio':>7} {'of least':>9}   (s, medians of {options.runs})"
        )
        for name, capture in captures.items():
            for title, scripts, kind in cases:
                which = 0 if kind == "cpu" else 1
                without, loaded = [], []
                for _ in range(options.runs):
                    without.append(run(zeek, capture, [], packages)[which])
                    loaded.append(run(zeek, capture, scripts, packages)[which])
                print(
                    f"{name:<12} {title:<32} {kind:<5} {median(without):>9.2f} {median(loaded):>9.2f} "
                    f"{median(loaded) / median(without):>7.3f} {min(loaded) / min(without):>9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
