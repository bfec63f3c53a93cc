"""The lab's wire: one process that moves IP packets between the hosts' TUN devices and writes what each capture point
sees.

Used because many kernels have no netem. What it can't deliver it drops and counts: nothing leaves the lab here.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from .links import Direction, profile_of

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
DEVICE = "lab0"
_BATCH = 64  # packets read from one device before the others and the packets due get their turn
_LINKTYPE_RAW = 101


def enter(namespace: str) -> None:
    """Move this process into a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(handle, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns", namespace)
    finally:
        os.close(handle)


def open_device(namespace: str) -> int:
    """Make the host's network device and return its non-blocking descriptor (one packet per read and write)."""
    enter(namespace)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return device


class Tap:
    """A capture point: a pcap file (raw IP, microseconds) of all that enters or leaves one host."""

    def __init__(self, path: Path, snaplen: int) -> None:
        self.snaplen = snaplen
        self.file = open(path, "wb", buffering=1 << 18)  # noqa: SIM115 - open until the wire is closed
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, _LINKTYPE_RAW))

    def packet(self, now: float, data: bytes) -> None:
        size = len(data)
        kept = min(self.snaplen, size)
        micros = int(now * 1e6)
        self.file.write(struct.pack("<IIII", micros // 1_000_000, micros % 1_000_000, kept, size))
        self.file.write(data if kept == size else data[:kept])


class Wire:
    """`hosts`: name -> {namespace, link fields, seed, capture path or None}; addresses are told by `routes`: IPv4 ->
    host.
    """

    def __init__(self, hosts: dict[str, dict[str, Any]], routes: dict[str, str], snaplen: int) -> None:
        self.names = list(hosts)
        self.devices = [open_device(host["namespace"]) for host in hosts.values()]
        self.up: list[Direction] = []
        self.down: list[Direction] = []
        self.taps: list[Tap | None] = []
        for host in hosts.values():
            link = profile_of(host["link_name"], host["link"])
            self.up.append(Direction(link, True, host["seed"]))
            self.down.append(Direction(link, False, host["seed"] + 1))
            self.taps.append(Tap(host["capture"], snaplen) if host.get("capture") else None)
        index = {name: number for number, name in enumerate(self.names)}
        self.routes = {socket.inet_aton(address): index[host] for address, host in routes.items()}
        self.counts = {"packets": 0, "no_such_address": 0, "not_ipv4": 0, "refused_by_host": 0}
        self.late: list[float] = []
        self.stopped = False

    def stop(self, *_: object) -> None:
        self.stopped = True

    def run(self) -> None:
        # The clock of the links is monotonic; the captures' is the wall clock at start plus that, so time never steps.
        offset = time.time() - time.monotonic()
        clock, number = time.monotonic, 0
        #: When it is due, its number, whether it is on its second link, its target, itself.
        heap: list[tuple[float, int, bool, int, bytes]] = []
        due: float | None
        by_device = {device: host for host, device in enumerate(self.devices)}
        push, pop, read, write = heapq.heappush, heapq.heappop, os.read, os.write
        counts, routes, taps = self.counts, self.routes, self.taps
        while not self.stopped:
            wait = max(0.0, heap[0][0] - clock()) if heap else 0.2
            for device in select.select(self.devices, (), (), min(wait, 0.2))[0]:
                source = by_device[device]
                tap, link = taps[source], self.up[source]
                for _ in range(_BATCH):
                    try:
                        data = read(device, 65536)
                    except BlockingIOError:
                        break
                    now = clock()
                    if data[0] >> 4 != 4:
                        counts["not_ipv4"] += 1
                        continue
                    target = routes.get(data[16:20])
                    if target is None:
                        counts["no_such_address"] += 1
                        continue
                    if tap is not None:
                        tap.packet(now + offset, data)
                    counts["packets"] += 1
                    due = link.send(now, len(data))
                    if due is not None:
                        number += 1
                        push(heap, (due, number, False, target, data))
            now = clock()
            while heap and heap[0][0] <= now:
                due, _, last, target, data = pop(heap)
                if not last:
                    # The second link starts at the time the first one ended, not when this loop came by.
                    due = self.down[target].send(due, len(data))
                    if due is None:
                        continue
                    if due > now:
                        number += 1
                        push(heap, (due, number, True, target, data))
                        continue
                now = clock()
                if counts["packets"] % 16 == 0:
                    self.late.append(now - due)
                try:
                    write(self.devices[target], data)
                except OSError:
                    counts["refused_by_host"] += 1
                    continue
                tap = taps[target]
                if tap is not None:
                    tap.packet(now + offset, data)

    def close(self) -> dict[str, float]:
        """Flush the captures; what happened, as counts and milliseconds."""
        for tap in self.taps:
            if tap is not None:
                tap.file.close()
        late = sorted(self.late) or [0.0]
        return {
            **self.counts,
            "lost": sum(link.lost for link in self.up + self.down),
            "queue_full": sum(link.dropped for link in self.up + self.down),
            "late_ms_median": round(late[len(late) // 2] * 1e3, 3),
            "late_ms_p99": round(late[int(len(late) * 0.99)] * 1e3, 3),
        }


def main() -> None:
    """`python -m mmtt_model.lab.wire PLAN.json RESULT.json`: says `ready` on stdout; ends on SIGTERM."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    # Packets must not wait for the programs whose packets they are.
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -15)
    wire = Wire(plan["hosts"], plan["routes"], plan["snaplen"])
    signal.signal(signal.SIGTERM, wire.stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    wire.run()
    Path(sys.argv[2]).write_text(json.dumps(wire.close()))


if __name__ == "__main__":
    main()
