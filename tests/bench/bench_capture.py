"""How many packets a second the capture reader reads, beside nfstream on the same files, each on one core.

Usage: ``python tests/bench/bench_capture.py [CAPTURE ...] [--nfstream PYTHON]``. Without captures, on the two that
``mmtt bench zeek`` makes. nfstream is measured if PYTHON, the interpreter of a venv that has it, is given. Exit
status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from mmtt_agent.bench.captures import make

READER_BAR = 500_000
RATIO_BAR = 5
ROUNDS = 3

# nfstream as it comes, with nDPI. Each prints CPU seconds, of the process and its children, without those of starting
# up.
_READER = """
import sys, time
from mmtt_agent.capture import read_capture
begin = time.process_time()
capture = read_capture(sys.argv[1])
print(time.process_time() - begin, capture.counts["packets"], len(capture.windows))
"""
_NFSTREAM = """
import os, sys, time
from nfstream import NFStreamer
def main():
    begin, children = time.process_time(), os.times()
    packets = flows = 0
    streamer = NFStreamer(
        source=sys.argv[1], n_meters=1, splt_analysis=32, accounting_mode=3
    )
    for flow in streamer:
        packets += flow.bidirectional_packets
        flows += 1
    after = os.times()
    spent = after.children_user + after.children_system - children.children_user - children.children_system
    print(time.process_time() - begin + spent, packets, flows)
if __name__ == "__main__":
    main()
"""


def measure(python: str, program: str, capture: Path) -> tuple[float, int, int]:
    """The best of a few rounds: CPU seconds, packets, and what came out (windows or flows)."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(program)
        script.flush()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        rounds = []
        for _ in range(ROUNDS):
            done = subprocess.run(
                [python, script.name, capture],
                capture_output=True, text=True, check=False, env=environment,
            )  # fmt: skip
            if done.returncode:
                sys.exit(f"bench_capture.py: {python} on {capture}: {done.stderr.strip().splitlines()[-1]}")
            seconds, packets, found = done.stdout.split()[-3:]
            rounds.append((float(seconds), int(packets), int(found)))
    return min(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--nfstream", metavar="PYTHON", help="Python of a venv with nfstream")
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as made:
        captures = options.captures
        if not captures:
            captures = list(make(Path(made)).values())
        for capture in captures:
            seconds, packets, windows = measure(sys.executable, _READER, capture)
            rate = packets / seconds
            missed |= rate < READER_BAR
            print(
                f"{capture.name}: reader   {packets:>9,} packets {seconds:6.2f} s {rate:>10,.0f}/s "
                f"({windows:,} windows; bar {READER_BAR:,})",
                flush=True,
            )
            if options.nfstream:
                seconds, _, flows = measure(options.nfstream, _NFSTREAM, capture)
                ratio = rate / (packets / seconds)
                missed |= ratio < RATIO_BAR
                print(
                    f"{capture.name}: nfstream {packets:>9,} packets {seconds:6.2f} s {packets / seconds:>10,.0f}/s "
                    f"({flows:,} flows); the reader is {ratio:.1f} times as fast (bar {RATIO_BAR})",
                    flush=True,
                )
    if not options.nfstream:
        print("nfstream was not measured. To measure it: python -m venv /tmp/nfstream && /tmp/nfstream/bin/pip install")
        print("nfstream, and then: bench_capture.py --nfstream /tmp/nfstream/bin/python")
    sys.exit(missed)


if __name__ == "__main__":
    main()
