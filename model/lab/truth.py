"""Ground truth: each connection of a capture gets the label of the activity whose address it has. Nothing is guessed.

Every activity's server program has an IPv4 address of its own inside its host's namespace, so the address (never
the port) says which activity a packet belongs to. A connection that is at no activity's address has no label.
"""

from __future__ import annotations

import csv
import io
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmtt_agent.capture import Connections, read_capture

from .activities import ACTIVITIES
from .scenario import Plan, Step
from .tunnels import TUNNELS

# The first ten columns are those of the public captures' flows.tsv.
COLUMNS = (
    "capture",
    "first_seen_ms",
    "last_seen_ms",
    "proto",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "packets",
    "bytes",
    "service",
    "application",
    "tunnel",
    "tunnel_version",
    "inner_service",
    "malicious",
    "kind",
    "activity",
    "server_program",
    "server_version",
    "client_program",
    "client_version",
    "link",
    "seed",
    "payload_packets",
)
# The public data set's columns, so that one reader reads both.
CAPTURE_COLUMNS = (
    "capture",
    "group",
    "service",
    "application",
    "malicious",
    "label_from",
    "packets",
    "flows",
    "usable_flows",
    "source_repo",
    "source_commit",
    "source_path",
    "source_bytes",
    "source_sha256",
    "licence",
)


#: Protocol and both ends of a connection, in order.
_Key = tuple[int, tuple[str, int], tuple[str, int]]


@dataclass(frozen=True)
class Flow:
    """A connection as the capture reader cuts it; times in µs since the epoch."""

    first: int
    last: int
    proto: int
    orig: str
    orig_port: int
    resp: str
    resp_port: int
    packets: int
    payload_packets: int
    bytes: int


def flows_of(path: Path) -> tuple[list[Flow], int]:
    """The TCP and UDP connections of one of the lab's captures, and its packets in all. `bytes` counts IP packets
    whole.
    """
    capture = read_capture(path)
    found = capture.connections
    count = len(found.ts)
    payload = np.zeros(count, np.int64)
    np.add.at(payload, capture.windows.connection, capture.windows.series.lengths)
    originators, responders = texts(found.orig_h), texts(found.resp_h)
    last, size = found.ts.astype(np.int64), np.zeros(count, np.int64)
    packets = 0
    for packet in packets_of(found, path.read_bytes()):
        packets += 1
        if packet.connection is not None:
            last[packet.connection] = max(last[packet.connection], packet.time)
            size[packet.connection] += packet.length
    flows = [
        Flow(
            int(found.ts[i]),
            int(last[i]),
            int(found.proto[i]),
            originators[i],
            int(found.orig_p[i]),
            responders[i],
            int(found.resp_p[i]),
            int(found.orig_pkts[i] + found.resp_pkts[i]),
            int(payload[i]),
            int(size[i]),
        )
        for i in range(count)
    ]
    return flows, packets


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet of one of the lab's captures: when (µs), the IP packet's length, what of it was kept, and the row of the
    connection it belongs to, None where it is of none.
    """

    time: int
    length: int
    kept: bytes
    connection: int | None


def packets_of(found: Connections, data: bytes) -> Iterator[Packet]:
    """All packets of a capture the wire wrote (raw IPv4 without fragments), each with its connection.

    Args:
        found: the connections of that capture.
        data: its bytes.
    """
    originators, responders = texts(found.orig_h), texts(found.resp_h)
    # A 5-tuple may be cut into several connections: a packet belongs to the last one that had begun.
    rows: dict[_Key, list[int]] = {}
    for i in range(len(found.ts)):
        ends = ((originators[i], int(found.orig_p[i])), (responders[i], int(found.resp_p[i])))
        rows.setdefault(_key(int(found.proto[i]), *ends), []).append(i)
    at = 24
    while at + 16 <= len(data):
        second, micro, kept, length = struct.unpack_from("<IIII", data, at)
        ip = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        time, start = second * 1_000_000 + micro, (ip[0] & 15) * 4
        if ip[9] not in (6, 17) or len(ip) < start + 4:
            yield Packet(time, length, ip, None)
            continue
        source, target = struct.unpack_from(">HH", ip, start)
        key = _key(ip[9], (socket.inet_ntoa(ip[12:16]), source), (socket.inet_ntoa(ip[16:20]), target))
        yield Packet(time, length, ip, next((i for i in reversed(rows.get(key, ())) if found.ts[i] <= time), None))


def _key(protocol: int, one: tuple[str, int], other: tuple[str, int]) -> _Key:
    first, second = sorted((one, other))
    return protocol, first, second


def texts(addresses: np.ndarray) -> list[str]:
    """IPv4 addresses of a capture's connections as text."""
    return [".".join(str(part) for part in row[12:]) for row in addresses]


def join(flows: list[Flow], plan: Plan) -> tuple[list[tuple[Flow, Step]], list[Flow]]:
    """Flows with the step each belongs to, and those that have none (the checker's finding)."""
    by_address = {step.address: step for step in plan.steps}
    joined, unlabelled = [], []
    for flow in flows:
        steps = {id(step): step for step in (by_address.get(flow.orig), by_address.get(flow.resp)) if step}
        if len(steps) == 1:
            joined.append((flow, next(iter(steps.values()))))
        else:
            unlabelled.append(flow)
    return joined, unlabelled


def row(capture: str, flow: Flow, step: Step, versions: dict[str, str], link: str) -> dict[str, object]:
    """One line of flows.tsv."""
    activity = ACTIVITIES[step.name]
    labels = {
        "service": activity.service,
        "application": activity.application,
        "tunnel": activity.tunnel,
        "tunnel_version": "",
        "inner_service": activity.inner_service,
    }
    if step.through:
        tunnel = TUNNELS[step.through]
        labels = {
            "service": "tunnel",
            "application": tunnel.application,
            "tunnel": step.through,
            "tunnel_version": ", ".join(f"{name} {versions.get(name, '')}".strip() for name in tunnel.programs),
            "inner_service": activity.service,
        }
    return {
        "capture": capture,
        "first_seen_ms": flow.first // 1000,
        "last_seen_ms": flow.last // 1000,
        "proto": flow.proto,
        "src_ip": flow.orig,
        "src_port": flow.orig_port,
        "dst_ip": flow.resp,
        "dst_port": flow.resp_port,
        "packets": flow.packets,
        "bytes": flow.bytes,
        **labels,
        "malicious": int(bool(activity.malicious)),
        "kind": activity.malicious,
        "activity": step.name,
        "server_program": step.server,
        "server_version": versions.get(step.server, ""),
        "client_program": step.client,
        "client_version": versions.get(step.client, ""),
        "link": link,
        "seed": step.seed,
        "payload_packets": flow.payload_packets,
    }


def table(columns: tuple[str, ...], rows: Sequence[Mapping[str, object]]) -> str:
    """Tab-separated text with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
