"""What the lab recorded, activity by activity: its connections with their packets, to be played again."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from mmtt_agent.capture import CaptureError, read_capture

from . import LabError, truth
from .activities import ACTIVITIES


@dataclass(frozen=True)
class Connection:
    """A connection as it was recorded, of n packets.

    Attributes:
        orig, resp: addresses.
        begin: microseconds since 1970.
        times: int64 (n,), microseconds since `begin`.
        up: bool (n,), of the originator.
        data: uint8 (n, widest), IP packets as far as they were kept, zero beyond.
        kept, lengths: int64 (n,), bytes that were kept of each, and that it had.
    """

    proto: int
    orig: str
    orig_port: int
    resp: str
    resp_port: int
    begin: int
    times: np.ndarray
    up: np.ndarray
    data: np.ndarray
    kept: np.ndarray
    lengths: np.ndarray


@dataclass(frozen=True)
class Played:
    """An activity that one host did with one server program, in one capture. `kind`: of malicious traffic, or "".
    `number`: its own among all that was recorded.
    """

    number: int
    activity: str
    kind: str
    host: str
    server: str
    client: str
    address: str
    connections: list[Connection] = field(default_factory=list)

    @property
    def begin(self) -> int:
        return min(each.begin for each in self.connections)


def read(directory: Path) -> list[Played]:
    """All that `mmtt lab run` left in a directory, in the order in which it was planned.

    Activities that failed are left out, as are connections that are of no activity.

    Raises:
        LabError: it is not what the lab left.
    """
    folders = sorted(path.parent for path in (directory / "captures").glob("*/*/capture.json"))
    if not folders:
        raise LabError(f"{directory}: no captures of the lab; run `mmtt lab run day-parts -o {directory}` first")
    found: list[Played] = []
    for folder in folders:
        summary = json.loads((folder / "capture.json").read_text())
        failed = {int(number) for number in summary["failed"]}
        steps = [step for step in summary["steps"] if step["number"] not in failed]
        played = {step["address"]: _played(len(found) + at, step) for at, step in enumerate(steps)}
        for host in [path.name.removesuffix(".pcap.zst") for path in sorted(folder.glob("*.pcap.zst"))]:
            for connection in _connections(folder / f"{host}.pcap.zst"):
                ours = played.get(connection.resp) or played.get(connection.orig)
                # What is seen at the server's end too is the same connection.
                if ours and ours.host == host:
                    ours.connections.append(connection)
        found += played.values()
    return [each for each in found if each.connections]


def _played(number: int, step: dict[str, Any]) -> Played:
    return Played(
        number,
        step["name"],
        ACTIVITIES[step["name"]].malicious,
        step["client_host"],
        step["server"],
        step["client"],
        step["address"],
    )


def _connections(path: Path) -> list[Connection]:
    """In order of their first packet."""
    try:
        found = read_capture(path).connections
    except CaptureError as error:
        raise LabError(str(error)) from None
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    packets: dict[int, list[truth.Packet]] = defaultdict(list)
    for packet in truth.packets_of(found, data):
        if packet.connection is not None:
            packets[packet.connection].append(packet)
    originators, responders = truth.texts(found.orig_h), truth.texts(found.resp_h)
    return [
        _connection(
            packets[row],
            int(found.proto[row]),
            (originators[row], int(found.orig_p[row])),
            (responders[row], int(found.resp_p[row])),
        )
        for row in sorted(packets)
    ]


def _connection(
    packets: list[truth.Packet], proto: int, originator: tuple[str, int], responder: tuple[str, int]
) -> Connection:
    kept = np.array([len(packet.kept) for packet in packets])
    data = np.zeros((len(packets), kept.max()), np.uint8)
    for row, packet in enumerate(packets):
        data[row, : kept[row]] = np.frombuffer(packet.kept, np.uint8)
    times = np.array([packet.time for packet in packets], np.int64)
    source = np.frombuffer(bytes(map(int, originator[0].split("."))), np.uint8)
    return Connection(
        proto,
        *originator,
        *responder,
        begin=int(times[0]),
        times=times - times[0],
        up=(data[:, 12:16] == source).all(axis=1),
        data=data,
        kept=kept,
        lengths=np.array([packet.length for packet in packets], np.int64),
    )
