"""``mmtt bench zeek``: what the package costs Zeek, CPU and wall time with it over without it, in turns on the same captures."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from .captures import make

#: The package of a checkout; with an installation, Zeek finds what zkg has installed.
_PACKAGE = Path(__file__).parents[2] / "zeek-scripts"
#: What is measured: its name, what Zeek loads beside local.zeek, what counts, and the bar by capture.
_CASES = (
    (
        "no agent",
        ["mmtt/collect", "-e", "event zeek_init() { MMTT::stop_collecting(); }"],
        "cpu",
        {"short": 1.01, "long": 1.01},
    ),
    ("collecting, no verdicts", ["mmtt/collect"], "cpu", {"short": 1.15, "long": 1.02}),
    ("verdicts on everything", ["mmtt"], "wall", {"short": 1.5, "long": 1.5}),
)
CASES = tuple(case[0] for case in _CASES)


class BenchError(Exception):
    """It can't be measured; the text is one line."""


def _run(zeek: Path, capture: Path, scripts: list[str], packages: Path) -> tuple[float, float]:
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
        raise BenchError(f"Zeek failed on {capture}: {' '.join(done.stderr.split())[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, ended - began


def bench(
    zeek: Path,
    captures: Sequence[Path],
    runs: int,
    cases: Sequence[str],
    directory: Path | None,
    say: Callable[[str], None],
) -> None:
    """Measure, and say a line for each capture and case.

    Args:
        captures: instead of the made ones.
        directory: where those are or will be made.

    Raises:
        BenchError: Zeek fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        packages = Path(temporary) / "packages"
        packages.mkdir()
        if _PACKAGE.is_dir():
            (packages / "mmtt").symlink_to(_PACKAGE)
        measured = {path.name: path for path in captures} or make(directory or Path(temporary))
        say(
            f"{'capture':<12} {'':<24} {'':<5} {'without':>9} {'with':>9} {'ratio':>7} {'of least':>9}   (s, medians of {runs})"
        )
        for name, capture in measured.items():
            for title, scripts, kind, bars in _CASES:
                if title not in cases:
                    continue
                which = 0 if kind == "cpu" else 1
                without, loaded = [], []
                for _ in range(runs):
                    without.append(_run(zeek, capture, [], packages)[which])
                    loaded.append(_run(zeek, capture, scripts, packages)[which])
                ratio, least = median(loaded) / median(without), min(loaded) / min(without)
                bar = f"   bar {bars[name]}: {'met' if ratio <= bars[name] else 'MISSED'}" if name in bars else ""
                say(
                    f"{name:<12} {title:<24} {kind:<5} {median(without):>9.2f} {median(loaded):>9.2f} {ratio:>7.3f} {least:>9.3f}{bar}"
                )
