"""How many of Suricata's events `mmtt eve` passes on in a second of one core, and in how much memory.

Usage: ``python tests/bench/bench_eve.py [EVE_JSON] [--events 1000000]``. The events are those of a file, or made like
Suricata's, of 1 to 2 KB, with many flows, three of four with a verdict; over and over, at other times and of other
flows. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from made_events import event, stamp, verdict

from mmtt_agent.eve.enrich import Enricher
from mmtt_agent.eve.known import Known
from mmtt_agent.eve.lines import Lines
from mmtt_agent.eve.sources import CHUNK

BAR = 50_000
#: MiB that memory may grow by in the last three quarters.
GROWTH = 8
FLOWS = 20_000

_TLS = {
    "subject": "CN=www.example.com", "issuerdn": "C=US, O=Let's Encrypt, CN=R11", "serial": "03:AA:BB:CC:DD:EE:FF",
    "fingerprint": ":".join(["ab"] * 20), "sni": "www.example.com", "version": "TLS 1.3",
    "notbefore": "2026-01-01T00:00:00", "notafter": "2026-04-01T00:00:00", "ja3": {"hash": "e7" * 16, "string": "771,"
    + "-".join(str(49_000 + number) for number in range(40)) + ",0-10-11-13-35-23-65281,29-23-24,0"},
    "ja3s": {"hash": "eb" * 16, "string": "771,49199,65281-0-11-35-16-23"},
}  # fmt: skip
_ALERT = {
    "action": "allowed", "gid": 1, "signature_id": 2_027_758, "rev": 5,
    "signature": "ET INFO Observed DNS Query to .cc TLD", "category": "Potentially Bad Traffic", "severity": 2,
    "metadata": {"affected_product": ["Any"], "attack_target": ["Client_Endpoint"], "created_at": ["2019_07_26"],
                 "deployment": ["Perimeter"], "signature_severity": ["Informational"], "updated_at": ["2020_09_17"]},
}  # fmt: skip


def made() -> Iterator[bytes]:
    """A second's events: of each flow a TLS event, an alert with its payload, and the flow itself."""
    for number in range(FLOWS):
        ends = f"10.{number >> 8 & 255}.{number & 255}.1", "192.0.2.10"
        of = {"port": 1024 + number % 60_000, "flow_id": 10**15 + number, "ends": ends}
        common = {"in_iface": "eth0", "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "pkt_src": "wire/pcap"}
        yield event(number / FLOWS, **of, **common, tls=_TLS, note="x" * 200)
        flow = {"pkts_toserver": 6, "pkts_toclient": 7, "bytes_toserver": 1000, "bytes_toclient": 6000}
        yield event(number / FLOWS, **of, **common, kind="alert", alert=_ALERT, app_proto="tls", tls=_TLS,
                    flow=flow | {"start": stamp(0)}, payload="QUJD" * 100)  # fmt: skip
        yield event(number / FLOWS, **of, **common, span=(0, 2), app_proto="tls",
                    tcp={"tcp_flags": "1b", "state": "closed"}, metadata={"flowbits": ["a.b.c"] * 40})  # fmt: skip


def known_of(lines: list[bytes]) -> Known:
    """Verdicts on three of four flows."""
    known = Known()
    for line in lines:
        fields = json.loads(line)
        if fields["event_type"] != "flow" or fields.get("proto") not in ("TCP", "UDP") or fields["flow_id"] % 4 == 0:
            continue
        ends = fields["src_ip"], fields["dest_ip"]
        known.add(verdict(0.5, fields["src_port"], f"C{fields['flow_id']}", ends, fields["proto"].lower()))
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eve", type=Path, nargs="?")
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    lines = options.eve.read_bytes().splitlines(keepends=True) if options.eve else [*made()]
    known = known_of(lines)
    data = b"".join(lines)
    print(f"{len(lines):,} events of {len(data) / len(lines):,.0f} bytes, {len(known):,} connections with a verdict")
    enricher, cut = Enricher(known, 5.0), Lines()
    rounds = max(options.events // len(lines), 8)
    out = spent = 0
    first = 0
    for number in range(rounds):
        begin = time.process_time()
        for at in range(0, len(data), CHUNK):
            # What waits does so for 5 of these seconds: a chunk's time on the wire.
            now = (number + at / len(data)) * 10
            out += len(b"".join(enricher.take(cut.feed(data[at : at + CHUNK]), now)))
        spent += time.process_time() - begin
        if number <= rounds // 4:  # as much as ever may is held by then
            first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out += sum(map(len, enricher.end()))
    counts, last = enricher.counts, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rate, growth = counts.events / spent, (last - first) / 1024
    print(f"{counts.events:,} events: {rate:,.0f} a second of one core, {out / spent / 1e6:,.0f} MB/s out")
    print(f"joined {counts.joined:,}, without a verdict {counts.unanswered:,}, waited {counts.waited:,}")
    print(f"memory {last / 1024:,.0f} MiB, grown by {growth:,.1f} in the last three quarters")
    missed = [f"{rate:,.0f} events/s, below {BAR:,}"] if rate < BAR else []
    missed += [f"memory grew by {growth:,.1f} MiB, above {GROWTH}"] if growth > GROWTH else []
    for line in missed:
        print(f"MISSED: {line}")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
