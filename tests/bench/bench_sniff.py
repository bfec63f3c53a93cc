"""What live traffic costs `mmtt sniff`, beside Suricata and nfstream on the same packets.

    python tests/bench/bench_sniff.py [CAPTURE ...] [--rate 50000] [--seconds 12] [--nfstream PYTHON] [--ladder]

Needs root. Packets of a capture are sent into a virtual link at a fixed rate, over and over, each time from other
addresses, and every program listens at its other end in turn: the ring with the decoder alone, `mmtt sniff` with one
worker and with two, Suricata (its own settings, no rules, one worker) and nfstream (with nDPI; measured if PYTHON, the
interpreter of a venv that has it, is given). Without captures, on the two that ``mmtt bench zeek`` makes: `short` is of
60,000 short connections, so that what is done for each counts, `long` of 60 long ones, so that packets do.

Shown are CPU seconds per million packets, from the first packet until all is written and the program is gone (what it
does at its end counts, too: few seconds are not enough), and what the kernel has dropped. What nfstream has received it
says with some delay. With --ladder the rates go up from --rate until each program drops packets, or the sender can do
no more: the highest without drops.

The sender has a processor of its own (the first), a program with one worker another one (the second), one with two
workers both: where there are only two, these and the sender are in each other's way. The kernel's own work for a packet
is done on the sender's processor, so it counts for nobody.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from own_network import make_wire, missing, own_network

from mmtt_agent.bench.captures import make
from mmtt_agent.capture.files import CaptureFile

_TICKS = os.sysconf("SC_CLK_TCK")
_BATCH = 64
#: Of the ladder, packets per second.
_STEPS = (25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 250_000, 300_000, 350_000, 400_000, 500_000)
#: Seconds that a program may take for what has piled up.
_BACKLOG = 30

_RING = """
import signal, sys
from mmtt_agent.capture.packets import Decoder
from mmtt_agent.sniff.ring import Ring
going = [True]
signal.signal(signal.SIGTERM, lambda *_: going.clear())
with Ring("seen") as ring:
    decoder, rows = Decoder(), 0
    while going:
        for records in ring.blocks(0.1):
            decoder.decode(records, rows, records.time)
            rows += len(records)
    print("%d packets, %d dropped" % ring.statistics())
"""
_NFSTREAM = """
from nfstream import NFStreamer
def main():
    flows = 0
    for flow in NFStreamer(source="seen", n_meters=1, splt_analysis=32, accounting_mode=3, performance_report=1):
        flows += 1
if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Program:
    """What is measured: a command, how many sockets it listens with, its processors, the signal that ends it, and what
    it says of packets and of those dropped (two numbers, the last match counts)."""

    name: str
    command: list[str]
    counts: str
    sockets: int = 1
    processors: tuple[int, ...] = (1,)
    end: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class Measured:
    """What was sent, per second; CPU seconds that were spent, and those of a second without packets; packets that were
    received and dropped; the last line that was said."""

    sent: int
    rate: float
    cpu: float
    resting: float
    received: int
    dropped: int
    said: str

    @property
    def per_million(self) -> float:
        return self.cpu / max(self.sent, 1) * 1e6


class Sender:
    """Sends a capture's packets (Ethernet, as whole as they were captured) by a process of its own."""

    def __init__(self, capture: Path) -> None:
        parts, sizes = [], []
        for records in CaptureFile(capture):
            parts += [records.data[a : a + n] for a, n in zip(records.start, records.captured, strict=True)]
            sizes.append(records.captured)
        self.size = np.concatenate(sizes)
        self.data = np.concatenate(parts)
        self.start = np.cumsum(self.size) - self.size
        # Addresses that are shifted by as much up as down leave checksums as they are. Those of the captures.
        words = self.data.view()
        four = (self.size >= 34) & (words[self.start + 12] == 8) & (words[self.start + 13] == 0)
        ends = np.concatenate([self.start[four] + 27, self.start[four] + 31])
        self.up = ends[(self.data[ends - 1] == 10) & (self.data[ends] == 1)]
        self.down = ends[(self.data[ends - 1] == 10) & (self.data[ends] == 2)]

    def __call__(self, rate: float, seconds: float) -> tuple[int, float]:
        """How many were sent, and in how many seconds."""
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(rate, seconds, theirs))
        process.start()
        found: tuple[int, float] = ours.recv()
        process.join()
        return found

    def _run(self, rate: float, seconds: float, tell: Connection) -> None:
        os.sched_setaffinity(0, {0})
        self.data = self.data.copy()  # now, as what is written to was the parent's
        count = len(self.start)
        vector = np.empty((count, 2), np.uint64)
        vector[:, 0], vector[:, 1] = self.data.ctypes.data + self.start, self.size
        message = np.zeros((count, 8), np.uint64)  # mmsghdr
        message[:, 2], message[:, 3] = vector.ctypes.data + 16 * np.arange(count), 1
        send = ctypes.CDLL(None, use_errno=True).sendmmsg
        send.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
            out.bind(("wire", 0))
            at, sent, begun = 0, 0, time.perf_counter()
            while (passed := time.perf_counter() - begun) < seconds:
                if sent > passed * rate:
                    continue
                done = send(out.fileno(), message.ctypes.data + 64 * at, min(_BATCH, count - at), 0)
                sent += max(done, 0)
                at += max(done, 0)
                if at == count:
                    at = 0
                    self.data[self.up] += 1
                    self.data[self.down] -= 1
            tell.send((sent, time.perf_counter() - begun))


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def spent(pid: int) -> float:
    """CPU seconds of a process, its threads, and its children, those that are gone among them."""
    total = 0
    for each in descendants(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / _TICKS


def wait_for(what: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < end:
        time.sleep(0.1)
    return done


def listening() -> int:
    """Sockets that packets of the interface come to: in the kernel's list its number is the fifth field."""
    lines = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
    index = socket.if_nametoindex("seen")
    return sum(int(line.split()[4]) == index and line.split()[5] == "1" for line in lines)


def measure(program: Program, sender: Sender, rate: float, seconds: float, folder: Path) -> Measured | str:
    """One run; a text where it does not work."""
    said = folder / "said"
    with said.open("w") as out:
        process = subprocess.Popen(
            program.command, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, set(program.processors)),  # noqa: PLW1509 - no threads here
        )  # fmt: skip
    try:
        wait_for(lambda: listening() >= program.sockets or process.poll() is not None, 60)
        if process.poll() is not None or listening() < program.sockets:
            return (said.read_text().strip().splitlines() or ["says nothing"])[-1]
        time.sleep(2)

        def use() -> float:
            now = spent(process.pid)
            time.sleep(1)
            return spent(process.pid) - now

        resting = use()
        before = spent(process.pid)
        sent, took = sender(rate, seconds)

        def idle() -> bool:
            return use() < 1.2 * resting + 0.05

        wait_for(idle, _BACKLOG)
        process.send_signal(program.end)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    finally:
        with suppress(ProcessLookupError):
            process.kill()
            process.wait()
    text = said.read_text()
    counts = re.findall(program.counts, text)
    received, dropped = (int(number.replace(",", "")) for number in counts[-1]) if counts else (0, 0)
    cpu = usage.ru_utime + usage.ru_stime - before
    return Measured(sent, sent / took, cpu, resting, received, dropped, (text.strip().splitlines() or [""])[-1])


def programs(folder: Path, nfstream: str | None) -> list[Program]:
    mmtt = [sys.executable, "-c", "from mmtt_agent.cli import main; main()", "sniff"]
    sniff = [*mmtt, "-i", "seen", "-o", str(folder), "--user", "root", "--metrics-listen", "off", "--workers"]
    counts = r"([\d,]+) packets, ([\d,]+) (?:dropped|of them lost)"
    found = [
        Program("ring and decoder", [sys.executable, "-c", _RING], counts),
        Program("mmtt sniff, 1 worker", [*sniff, "1"], counts),
        Program("mmtt sniff, 2 workers", [*sniff, "2"], counts, 2, (0, 1)),
    ]
    if Path("/usr/bin/suricata").exists():
        suricata = ["suricata", "-c", "/etc/suricata/suricata.yaml", "-S", "/dev/null", "-l", str(folder)]
        settings = ["--af-packet=seen", "--runmode=workers", "--set", "af-packet.0.interface=seen"]
        found.append(
            Program(
                "Suricata, 1 worker",
                [*suricata, *settings, "--set", "af-packet.0.threads=1"],
                r"packets: (\d+), drops: (\d+)",
            )
        )
    if nfstream:
        script = folder / "with_nfstream.py"
        script.write_text(_NFSTREAM)
        counts = r'"packets_processed": (\d+).*"packets_dropped_filtered_by_kernel": (\d+)'
        found.append(Program("nfstream, 1 meter", [nfstream, str(script)], counts, end=signal.SIGINT))
    return found


def ladder(program: Program, sender: Sender, first: float, seconds: float, folder: Path) -> str:
    """The highest rate at which a program drops nothing, and where it begins to."""
    best = 0.0
    for step in [each for each in _STEPS if each >= first]:
        done = measure(program, sender, step, seconds, folder)
        if isinstance(done, str):
            return done
        if done.dropped:
            return f"{best:>9,.0f}/s ({done.dropped / done.sent:.1%} lost at {done.rate:,.0f}/s)"
        best = done.rate
        if done.rate < 0.95 * step:
            break
    return f"{best:>9,.0f}/s, as many as can be sent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="*", type=Path)
    parser.add_argument("--rate", type=float, default=50_000)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--only", default="", help="programs with this in their name")
    parser.add_argument("--nfstream", metavar="PYTHON", help="Python of a venv with nfstream")
    parser.add_argument("--ladder", action="store_true", help="look for the highest rate without drops")
    options = parser.parse_args()
    if why := missing():
        sys.exit(f"bench_sniff.py: {why}")
    print(f"{os.cpu_count()} processors, load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as made, own_network():
        make_wire()
        folder = Path(made) / "out"
        folder.mkdir()
        for capture in options.captures or make(Path(made)).values():
            sender = Sender(capture)
            mean = sender.data.size / len(sender.size)
            print(f"{capture.name}: {len(sender.size):,} packets of {mean:.0f} bytes, over and over", flush=True)
            first = None
            for program in programs(folder, options.nfstream):
                if options.only not in program.name:
                    continue
                if options.ladder:
                    print(f"  {program.name:24}{ladder(program, sender, options.rate, options.seconds, folder)}")
                    continue
                done = measure(program, sender, options.rate, options.seconds, folder)
                if isinstance(done, str):
                    print(f"  {program.name:24}not there yet: {done}", flush=True)
                    continue
                if "mmtt sniff" in program.name:
                    first = first or done.per_million
                times = f"{done.per_million / first:5.2f} times mmtt sniff's" if first else ""
                print(
                    f"  {program.name:24}{done.per_million:7.2f} CPU s per million packets, "
                    f"{done.sent:,} sent at {done.rate:,.0f}/s, {done.received:,} received, {done.dropped:,} dropped, "
                    f"{done.resting:.0%} of a processor without packets  "
                    f"{times}",
                    flush=True,
                )
                if "mmtt sniff" in program.name:
                    print(f"    {done.said}", flush=True)
    if not options.nfstream:
        print("nfstream was not measured. To measure it: python -m venv /tmp/nfstream && /tmp/nfstream/bin/pip install")
        print("nfstream, and then: bench_sniff.py --nfstream /tmp/nfstream/bin/python")


if __name__ == "__main__":
    main()
