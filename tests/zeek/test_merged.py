"""542 captures merged into one: every window that should has a verdict, no line of conn.log is lost; time and
memory."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import zstandard

from mmtt_agent.zeek import find as find_zeek

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = ROOT.parent / "shared" / "data" / "captures" / "ndpi"
ETHERNET = 1
#: Between the captures, and between two packets at most, so that a connection of one has ended for Zeek before the next
#: begins.
GAP_US = 600 * 10**6


ZEEK = find_zeek()
pytestmark = [
    pytest.mark.skipif(ZEEK is None, reason="no Zeek"),
    pytest.mark.skipif(not CAPTURES.is_dir(), reason="no ../shared"),
]


def packets(data: bytes):
    """Link type, microseconds, length on the wire and bytes of each packet of a pcap or pcapng file."""
    magic = data[:4]
    if magic == b"\x0a\x0d\x0d\x0a":
        yield from packets_of_pcapng(data)
        return
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1000 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1
    (link_type,) = struct.unpack_from(order + "I", data, 20)
    at = 24
    while at + 16 <= len(data):
        seconds, part, captured, wire = struct.unpack_from(order + "IIII", data, at)
        frame = data[at + 16 : at + 16 + captured]
        if len(frame) < captured:
            return
        yield link_type & 0xFFFF, seconds * 10**6 + part // fraction, wire, frame
        at += 16 + captured


def packets_of_pcapng(data: bytes):
    order, at, interfaces = "<", 0, []
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind == 1:
            (link_type,) = struct.unpack_from(order + "H", data, at + 8)
            units = 10**6
            option = at + 16
            while option < at + length - 4:
                code, size = struct.unpack_from(order + "HH", data, option)
                if code == 9:
                    units = 10 ** data[option + 4]
                if code == 0:
                    break
                option += 4 + (size + 3) // 4 * 4
            interfaces.append((link_type, units))
        if kind == 6:
            interface, high, low, captured, wire = struct.unpack_from(order + "IIIII", data, at + 8)
            link_type, units = interfaces[interface]
            yield link_type, ((high << 32) + low) * 10**6 // units, wire, data[at + 28 : at + 28 + captured]
        at += length


def merge(to: Path) -> tuple[int, int]:
    """Write those of Ethernet one after the other to a pcap file; returns how many, and how many packets."""
    files = count = 0
    clock = 1_500_000_000 * 10**6
    with to.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, ETHERNET))
        for path in sorted(CAPTURES.rglob("*.zst")):
            data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
            before = None
            for link_type, at, wire, frame in packets(data):
                if link_type != ETHERNET:
                    break
                # Some captures were themselves put together from others: their clock jumps.
                clock += GAP_US if before is None else min(max(at - before, 0), GAP_US)
                before = at
                out.write(struct.pack("<IIII", clock // 10**6, clock % 10**6, len(frame), wire) + frame)
                count += 1
            files += before is not None
    return files, count


def zeek(capture: Path, directory: Path, *arguments: str) -> tuple[float, float]:
    """Run Zeek in a directory; returns seconds, and megabytes of its memory at most."""
    directory.mkdir()
    environment = dict(os.environ)
    environment.setdefault("MMTT_AGENT", f"{Path(sys.executable).parent / 'mmtt'} agent")
    started = time.perf_counter()
    done = subprocess.run(
        [ZEEK, "-D", "-C", "-r", capture, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert "mmtt" not in done.stderr, done.stderr
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def read_log(path: Path) -> list[dict[str, str]]:
    lines = path.read_text().splitlines()
    fields = next(line for line in lines if line.startswith("#fields")).split("\t")[1:]
    return [dict(zip(fields, line.split("\t"), strict=True)) for line in lines if not line.startswith("#")]


WINDOWS = """
hook MMTT::window_done(c: connection, w: MMTT::Window)
	{
	print MMTT::windows, fmt("%s %d %d", c$uid, w$window, |w$sizes|);
	}
"""


def test_542_captures_as_one(tmp_path):
    capture = tmp_path / "merged.pcap"
    files, count = merge(capture)
    print(f"\n{files} captures, {count} packets")

    without_s, without_mb = zeek(capture, tmp_path / "without", "local")
    with_s, with_mb = zeek(capture, tmp_path / "with", "local", str(ROOT / "zeek-scripts"))
    print(f"zeek -r without {without_s:.2f} s, with verdicts {with_s:.2f} s: {with_s / without_s:.2f}")
    print(f"most memory of Zeek without {without_mb:.0f} MB, with {with_mb:.0f} MB")

    rows = read_log(tmp_path / "with" / "mmtt.log")
    print(f"{len(rows)} windows: {dict(Counter(row['status'] for row in rows))}")
    assert max(Counter((row["uid"], row["window"]) for row in rows).values()) == 1
    for row in rows:
        assert row["status"] == ("ok" if int(row["packets"]) >= 4 else "too_short"), row

    # What should be there, from the collection alone.
    scripts = ROOT / "zeek-scripts"
    (tmp_path / "windows.zeek").write_text('module MMTT;\nglobal windows = open("windows.txt");\n' + WINDOWS)
    zeek(
        capture,
        tmp_path / "collect",
        "local",
        *map(str, (scripts / "main.zeek", scripts / "collect.zeek")),
        str(tmp_path / "windows.zeek"),
    )
    expected = [line.split() for line in (tmp_path / "collect" / "windows.txt").read_text().splitlines()]
    assert sorted(expected) == sorted([row["uid"], row["window"], row["packets"]] for row in rows)

    def connections(run: str) -> list[tuple]:
        return [(c["uid"], c["ts"], c["conn_state"]) for c in read_log(tmp_path / run / "conn.log")]

    lines = connections("with")
    assert len(lines) == len(connections("without"))
    assert sorted(lines) == sorted(connections("without"))
    verdicts = {row["uid"] for row in rows if row["status"] == "ok"}
    said = {c["uid"] for c in read_log(tmp_path / "with" / "conn.log") if c["mmtt_service"] != "-"}
    assert said == verdicts & {line[0] for line in lines}
