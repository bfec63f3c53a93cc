"""``mmtt bench zeek``: what the package costs Zeek, CPU and wall time with it over without it, in turns on the same
captures."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .captures import SIZES, make, missing

#: The package of a checkout; with an installation, Zeek finds what zkg has installed.
_PACKAGE = Path(__file__).parents[2] / "zeek-scripts"
#: What is measured: its name, what Zeek loads beside local.zeek, and what counts.
_CASES = (
    ("no agent", ["mmtt/collect", "-e", "event zeek_init() { MMTT::stop_collecting(); }"], "cpu"),
    ("collecting, no verdicts", ["mmtt/collect"], "cpu"),
    ("verdicts on everything", ["mmtt"], "wall"),
)
CASES = tuple(title for title, *_ in _CASES)

_REMEDY = "name the program of a Zeek installation with --zeek FILE"


class BenchError(Exception):
    """It can't be measured; the text is one line."""


@dataclass(frozen=True)
class _Zeek:
    """A Zeek, and the environment in which it finds the package."""

    program: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], cwd=cwd, env=self.environment, capture_output=True, text=True, check=False
        )


def _prepare(program: Path, packages: Path) -> _Zeek:
    """Zeek with the package of a checkout, or with the one that is installed."""
    config = program.with_name("zeek-config")
    try:
        done = subprocess.run([config, "--zeekpath"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchError(f"{config}: {error.strerror}; {_REMEDY}") from None
    if done.returncode:
        raise BenchError(f"{config} --zeekpath ends with status {done.returncode}; {_REMEDY}")
    packages.mkdir()
    if _PACKAGE.is_dir():
        (packages / "mmtt").symlink_to(_PACKAGE)
    # The agent is the one of this Python.
    programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return _Zeek(program, os.environ | {"ZEEKPATH": f"{packages}:{done.stdout.strip()}", "PATH": programs})


def _check(zeek: _Zeek, cases: Sequence[tuple[str, list[str], str]]) -> None:
    """Whether Zeek can load what will be measured, before captures are made for it."""
    for scripts in ([], *(scripts for _, scripts, _ in cases)):
        done = zeek.run("--parse-only", "local", *scripts)
        said = " ".join(done.stderr.split())[-500:]
        if done.returncode and "can't find mmtt" in said:
            raise BenchError(
                f"{zeek.program} does not find the package mmtt; install it (zkg install DIRECTORY, of a checkout), or "
                "run `./mmtt bench zeek` in a checkout"
            )
        if done.returncode:
            raise BenchError(f"{zeek.program} can't load {' '.join(['local', *scripts[:1]])}: {said}")


def _check_space(directory: Path) -> None:
    """Whether there is room for the captures that are still to be made."""
    there = next(parent for parent in (directory, *directory.absolute().parents) if parent.exists())
    needed, free = sum(SIZES[name] for name in missing(directory)), shutil.disk_usage(there).free
    if free < needed:
        raise BenchError(
            f"{directory}: the captures take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there; name a "
            "directory with room with --keep DIR, or captures of your own"
        )


def _run(zeek: _Zeek, capture: Path, scripts: list[str]) -> tuple[float, float]:
    """One run over a capture: CPU and wall seconds, of Zeek and all that it starts."""
    with tempfile.TemporaryDirectory() as work:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = zeek.run("-r", capture.resolve(), "local", *scripts, cwd=work)
        after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if done.returncode:
        raise BenchError(f"Zeek failed on {capture}: {' '.join(done.stderr.split())[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, ended - began


def bench(
    program: Path,
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
        BenchError: Zeek fails, or does not find the package, or there is no room for the captures.
    """
    chosen = [case for case in _CASES if case[0] in cases]
    with tempfile.TemporaryDirectory() as temporary:
        zeek = _prepare(program, Path(temporary) / "packages")
        _check(zeek, chosen)
        measured = {path.name: path for path in captures}
        if not measured:
            directory = directory or Path(temporary)
            _check_space(directory)
            measured = make(directory)
        say(
            f"{'capture':<12} {'':<24} {'':<5} {'without':>9} {'with':>9} {'ratio':>7} {'of least':>9}   "
            f"(s, medians of {runs})"
        )
        for name, capture in measured.items():
            for title, scripts, kind in chosen:
                which = 0 if kind == "cpu" else 1
                without, loaded = [], []
                for _ in range(runs):
                    without.append(_run(zeek, capture, [])[which])
                    loaded.append(_run(zeek, capture, scripts)[which])
                ratio, least = median(loaded) / median(without), min(loaded) / min(without)
                say(
                    f"{name:<12} {title:<24} {kind:<5} {median(without):>9.2f} {median(loaded):>9.2f} "
                    f"{ratio:>7.3f} {least:>9.3f}"
                )
