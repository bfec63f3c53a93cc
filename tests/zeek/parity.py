"""Hold the capture reader against a real Zeek with the package, window by window.

Usage: ``python tests/zeek/parity.py [FILE_OR_DIRECTORY ...] [--show N] [--jobs N] [--each]``; without arguments all of
tests/data and, where it is present, all captures of ../shared/data. Prints a table per directory: windows compared,
equal, different by cause. Exit status 1 if any differs.

Zeek takes a second or two to start, most captures a few milliseconds to read. So many captures are put one after the
other into one, hours apart, so that nothing of the one before is left (``--each``: every capture by itself).
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmtt_agent.capture import CaptureError, read_capture
from mmtt_agent.capture.files import CaptureFile
from mmtt_agent.capture.records import PIECE, Records
from mmtt_agent.classify import sources
from mmtt_agent.zeek import find as find_zeek

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHARED = ROOT.parent / "shared" / "data"
#: Between captures that are put into one: longer than any connection may pause.
PAUSE = 3 * 3600 * 1_000_000
#: A capture that goes on for longer is looked at by itself.
LONGEST = 14 * 24 * 3600 * 1_000_000
#: Times that captures are put at: 2001 to 2037, which pcap can say.
EPOCH, END = 1_000_000_000_000_000, 2_140_000_000_000_000
#: Bytes of captures put into one at most.
BUNDLE = 64 << 20
_PROTOCOLS = {6: "tcp", 17: "udp"}

#: A connection's endpoints and transport, as the originator sees them.
Endpoints = tuple[str, int, str, int, str]


@dataclass
class Series:
    """What one side makes of a capture: windows by endpoints, number and time in µs; connections by endpoints, time,
    packets each way and whether they failed."""

    windows: dict[tuple[Endpoints, int, int], tuple[list[int], list[int]]] = field(default_factory=dict)
    connections: Counter = field(default_factory=Counter)
    error: str = ""


@dataclass
class Comparison:
    """Windows of one or more captures: how many there are, and in how many the two differ, by cause."""

    captures: int = 0
    windows: int = 0
    equal: int = 0
    connections: int = 0
    connections_equal: int = 0
    causes: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, other: Comparison) -> None:
        for name in ("captures", "windows", "equal", "connections", "connections_equal"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.causes += other.causes
        self.examples += other.examples


def by_zeek(zeek: Path, capture: Path, scripts: Path, checksums: bool = True) -> Series:
    """What Zeek makes of it. ``scripts`` is a directory in which the package is found as ``mmtt``; without
    ``checksums`` it is `zeek -C`. Errors of scripts are errors."""
    series = Series()
    with tempfile.TemporaryDirectory() as work:
        try:
            plain = _plain(capture, Path(work))
        except CaptureError as error:
            series.error = str(error)
            return series
        done = subprocess.run(
            [zeek, *([] if checksums else ["-C"]), "-r", plain, "mmtt/collect", HERE / "parity.zeek"],
            cwd=work,
            env={"ZEEKPATH": f"{scripts}:{_zeekpath(zeek)}", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        series.error = next((line for line in done.stderr.splitlines() if "fatal" in line), "Zeek failed")
        return series
    if "mmtt/" in done.stderr:
        series.error = done.stderr.splitlines()[0]
        return series
    for line in done.stdout.splitlines():
        kind, *rest = line.split("|")
        ends = (rest[0], int(rest[1]), rest[2], int(rest[3]), rest[4])
        if kind == "W":
            key = (ends, int(rest[5]), _microseconds(rest[6]))
            series.windows[key] = (json.loads(rest[7]), json.loads(rest[8]))
        else:
            series.connections[ends, _microseconds(rest[5]), int(rest[6]), int(rest[7]), rest[8] == "T"] += 1
    return series


def by_reader(capture: Path, checksums: bool = True) -> Series:
    """What the capture reader makes of it."""
    series = Series()
    try:
        read = read_capture(capture, checksums=checksums)
    except CaptureError as error:
        series.error = str(error)
        return series
    table = read.connections
    orig_h, resp_h = table.addresses(slice(None))
    ends = [
        (o, op, r, rp, _PROTOCOLS[proto])
        for o, op, r, rp, proto in zip(
            orig_h, table.orig_p.tolist(), resp_h, table.resp_p.tolist(), table.proto.tolist(), strict=True
        )
    ]
    windows = read.windows
    for connection, number, ts, length, sizes, times in zip(
        windows.connection.tolist(), windows.window.tolist(), windows.ts.tolist(), windows.series.lengths.tolist(),
        windows.series.sizes.tolist(), windows.series.times.tolist(), strict=True,
    ):  # fmt: skip
        series.windows[ends[connection], number, ts] = (sizes[:length], times[:length])
    columns = (table.ts, table.orig_pkts, table.resp_pkts, table.failed)
    for about in zip(ends, *(column.tolist() for column in columns), strict=True):
        series.connections[about] += 1
    return series


def compare(bundle: Bundle, ours: Series, zeeks: Series) -> Comparison:
    """Where the two differ."""
    result = Comparison(captures=len(bundle.starts))
    if ours.error and zeeks.error:
        return result
    if ours.error and not zeeks.windows:
        return result
    keys = ours.windows.keys() | zeeks.windows.keys()
    result.windows = len(keys)
    result.connections = (ours.connections | zeeks.connections).total()
    result.connections_equal = (ours.connections & zeeks.connections).total()
    for key in sorted(keys):
        one, other = ours.windows.get(key), zeeks.windows.get(key)
        if one == other:
            result.equal += 1
            continue
        cause = _cause(key, one, other, ours, zeeks)
        result.causes[cause] += 1
        result.examples.append(f"{bundle.name(key[2])}: {cause}: {key}\n    reader {one}\n    Zeek   {other}")
    return result


def _cause(key, one, other, ours: Series, zeeks: Series) -> str:
    ends, number, ts = key
    if ours.error:
        return "the reader refuses the capture"
    if zeeks.error:
        return "Zeek refuses the capture"
    if one is None or other is None:
        side, theirs = ("Zeek", ours) if one is None else ("reader", zeeks)
        flipped = (ends[2], ends[3], ends[0], ends[1], ends[4])
        if (flipped, number, ts) in theirs.windows:
            return "originator"
        if any(k[0] in (ends, flipped) and k[1] == number for k in theirs.windows):
            return "connection cut elsewhere"
        return f"only {side} has it"
    if one[1] != other[1] and len(one[0]) != len(other[0]):
        return "other packets"
    return "sizes" if one[0] != other[0] else "times"


def _microseconds(seconds: str) -> int:
    whole, fraction = seconds.split(".")
    return int(whole) * 1_000_000 + int(fraction)


def _zeekpath(zeek: Path) -> str:
    config = zeek.with_name("zeek-config")
    return subprocess.run([config, "--zeekpath"], capture_output=True, text=True, check=True).stdout.strip()


def _plain(capture: Path, work: Path) -> Path:
    """The capture, unpacked if need be, as far as that goes: Zeek reads no compressed ones.

    Raises:
        CaptureError: it can't be unpacked at all.
    """
    with CaptureFile(capture) as packed:
        if not packed.wrapping:
            return capture.resolve()
        if not packed.magic:
            raise packed.too_short("empty")
        plain = work / "plain.pcap"
        with plain.open("wb") as out:
            out.write(packed.magic)
            while piece := packed.take(PIECE):
                out.write(piece)
    return plain


@dataclass
class Bundle:
    """Captures put one after the other into one, or one by itself.

    Attributes:
        starts: when each begins, µs, and its path.
    """

    path: Path
    starts: list[tuple[int, Path]]

    def name(self, at: int) -> str:
        """The capture that a time belongs to."""
        return str(max((start, path) for start, path in self.starts if start <= at)[1])


def _records(capture: Path) -> list[Records] | None:
    """What a capture holds, if it can be put into one with others."""
    try:
        with CaptureFile(capture) as file:
            found = list(file)
            if file.problems or file.warnings:
                return None
    except CaptureError:
        return None
    times = np.concatenate([np.zeros(0, np.int64), *(each.time for each in found)])
    types = {int(t) for each in found for t in np.unique(each.linktype)}
    lengths = [length for each in found for length in (each.captured, each.wire)]
    if len(types) != 1 or np.ptp(times) > LONGEST or times.min() < 0:
        return None
    return None if any((length <= 0).any() for length in lengths) else found


def bundles(captures: list[Path], directory: Path) -> Iterator[Bundle]:
    """All captures, as few files as can be: the caller has to delete those in `directory`."""
    alone: list[Path] = []
    waiting: dict[int, list[tuple[Path, list[Records]]]] = {}
    sizes: Counter[int] = Counter()
    spans: Counter[int] = Counter()
    number = 0
    for capture in captures:
        if (found := _records(capture)) is None:
            alone.append(capture)
            continue
        linktype = int(found[0].linktype[0])
        waiting.setdefault(linktype, []).append((capture, found))
        sizes[linktype] += sum(int(each.captured.sum()) + 16 * len(each) for each in found)
        begin, end = _span(found)
        spans[linktype] += end - begin + 2 * PAUSE
        if sizes[linktype] >= BUNDLE or spans[linktype] > END - EPOCH - LONGEST - 3 * PAUSE:
            number += 1
            yield _put_together(waiting.pop(linktype), linktype, directory / f"{number}.pcap")
            sizes[linktype] = spans[linktype] = 0
    for linktype, parts in waiting.items():
        number += 1
        yield _put_together(parts, linktype, directory / f"{number}.pcap")
    yield from (Bundle(capture, [(0, capture)]) for capture in alone)


def _span(found: list[Records]) -> tuple[int, int]:
    return min(int(each.time.min()) for each in found), max(int(each.time.max()) for each in found)


def _put_together(parts: list[tuple[Path, list[Records]]], linktype: int, path: Path) -> Bundle:
    now, starts = EPOCH, []
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, linktype))
        for capture, found in parts:
            # By whole seconds, so that Zeek, which counts in fractions of a second, rounds as it would have.
            begin, end = _span(found)
            shift = now - begin // 1_000_000 * 1_000_000
            starts.append((now, capture))
            packets = 0
            for each in found:
                seconds, fractions = np.divmod(each.time + shift, 1_000_000)
                packets += len(each)
                columns = (seconds, fractions, each.start, each.captured, each.wire)
                for sec, usec, start, captured, wire in zip(*(c.tolist() for c in columns), strict=True):
                    out.write(struct.pack("<IIII", sec, usec, captured, wire))
                    out.write(each.data[start : start + captured].tobytes())
            # Zeek runs 300 timers at most with a packet: these, of one byte, are for those that are due then.
            now = (end + shift) // 1_000_000 * 1_000_000 + PAUSE
            for _ in range(10 + packets // 100):
                out.write(struct.pack("<IIII", now // 1_000_000, 0, 1, 1) + b"\0")
            now += PAUSE
    return Bundle(path, starts)


def compare_all(
    zeek: Path, captures: list[Path], jobs: int = 1, progress: Callable[[int], None] | None = None, each: bool = False
) -> Comparison:
    """Compare on all captures, `each` by itself or as many at once as can be."""
    result = Comparison()
    with (
        tempfile.TemporaryDirectory() as scripts,
        tempfile.TemporaryDirectory() as together,
        ThreadPoolExecutor(jobs) as pool,
    ):
        (Path(scripts) / "mmtt").symlink_to(ROOT / "zeek-scripts")

        def one(bundle: Bundle) -> Comparison:
            found = compare(bundle, by_reader(bundle.path), by_zeek(zeek, bundle.path, Path(scripts)))
            if bundle.path.parent == Path(together):
                bundle.path.unlink()
            return found

        alone = (Bundle(capture, [(0, capture)]) for capture in captures)
        waiting: deque[Future[Comparison]] = deque()
        for bundle in alone if each else bundles(captures, Path(together)):
            waiting.append(pool.submit(one, bundle))
            while len(waiting) > jobs:
                result.add(waiting.popleft().result())
                if progress:
                    progress(result.captures)
        while waiting:
            result.add(waiting.popleft().result())
            if progress:
                progress(result.captures)
    return result


def expand(arguments: list[str]) -> list[Path]:
    """The captures that paths name. What can't be read ends the program: nothing is to pass for compared."""
    found = sources.expand(arguments)
    if found.problems:
        sys.exit(f"parity.py: {found.problems[0]}")
    return [path for path in found.captures if path is not None]


def groups(arguments: list[str]) -> dict[str, list[Path]]:
    """Captures by what they are reported under."""
    if arguments:
        return {argument: expand([argument]) for argument in arguments}
    found = {"tests/data": expand([str(ROOT / "tests" / "data")])}
    if SHARED.is_dir():
        for group in (SHARED / "raw", *sorted((SHARED / "captures").iterdir())):
            found[group.name] = expand([str(group)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", help="captures or directories of them")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="differences to print per group")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--each", action="store_true", help="every capture by itself")
    options = parser.parse_args()
    zeek = find_zeek()
    if zeek is None:
        sys.exit("parity.py: no Zeek found; set ZEEK to the program, or put it on PATH")
    print(
        f"{'group':<12} {'captures':>8} {'connections':>12} {'equal':>8} {'windows':>9} {'equal':>9} {'':>9}  different"
    )
    differ = False
    for name, captures in groups(options.paths).items():

        def progress(done: int, label: str = f"\r{name}: {{}}/{len(captures)} ") -> None:
            if sys.stderr.isatty():
                print(label.format(done), end="", file=sys.stderr)

        result = compare_all(zeek, captures, options.jobs, progress, options.each)
        causes = ", ".join(f"{count} {cause}" for cause, count in result.causes.most_common())
        share = result.equal / result.windows if result.windows else 1
        print(
            f"{Path(name).name:<12} {result.captures:>8,} {result.connections:>12,} {result.connections_equal:>8,} "
            f"{result.windows:>9,} {result.equal:>9,} {share:>9.3%}  {causes}",
            flush=True,
        )
        for example in result.examples[: options.show]:
            print(example)
        differ |= result.equal != result.windows
    sys.exit(differ)


if __name__ == "__main__":
    main()
