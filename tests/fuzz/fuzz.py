"""Fuzz a target, guided by coverage: inputs that reach something new are added to tests/fuzz/corpus/TARGET.zip.

    pip install atheris
    python tests/fuzz/fuzz.py zeek_message|capture|bundle_yaml|eve_events [--seconds 600]

Ends with status 1 at the first input that crashes, hangs or takes too much memory, and leaves that in tests/fuzz.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "support"))
#: The instrumented interpreter itself grows by some MB a second (the same runs without it don't), so it starts anew so
#: often.
ROUND = 60


def fuzz(target: str, corpus: Path, seconds: int) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=["mmtt_agent", "yaml"]):
        from targets import TARGETS
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=1500",
         f"-artifact_prefix={HERE}/{target}-", "-print_final_stats=1", "-verbosity=0"],
        TARGETS[target],
    )  # fmt: skip
    atheris.Fuzz()


def pack(corpus: Path, into: Path) -> None:
    """Always the same bytes for the same inputs."""
    part = into.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as out:
        for path in sorted(corpus.iterdir()):
            out.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    part.rename(into)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["zeek_message", "capture", "bundle_yaml", "eve_events"])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.corpus:
        fuzz(options.target, options.corpus, options.seconds)
    packed = HERE / "corpus" / f"{options.target}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary)
        if packed.exists():
            zipfile.ZipFile(packed).extractall(corpus)
        for done in range(0, options.seconds, ROUND):
            seconds = min(ROUND, options.seconds - done)
            told = subprocess.run(
                [sys.executable, __file__, options.target, "--corpus", temporary, "--seconds", str(seconds)],
                check=False,
            )
            if told.returncode:
                sys.exit(1)
            pack(corpus, packed)


if __name__ == "__main__":
    main()
