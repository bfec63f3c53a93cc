"""Days of the lab's hosts, composed of what was recorded of them: its connections at other times, with their truth."""

from __future__ import annotations

import os
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random

import numpy as np
import zstandard

from . import LabError, behaviour, truth
from .again import Packets, again
from .recorded import Connection, Played
from .schedule import DAY, HOUR, MACHINES, MOST, PEOPLE, WAKING, Attack, attacks

DAYS, PAIRS = "days.tsv", "pairs.tsv"
#: A day a row; `attack`: the activity, empty for an ordinary day. Times are microseconds since 1970.
DAY_COLUMNS = ("capture", "begin", "hours", "hosts", "attack", "kind", "period", "jitter", "sessions", "seed")
#: Two hosts and the activity between them a row, with the starts of its first and its last connection.
PAIR_COLUMNS = ("capture", "orig", "resp", "resp_p", "activity", "kind", "connections", "begin", "end")
#: Monday, 5 January 2026, in microseconds.
_FIRST = 1_767_571_200_000_000
_SECOND = 1_000_000
#: An attack begins within so many seconds of the day.
_BEGINS = 2 * HOUR
#: Connections that were recorded of an attack that is done connection by connection, at least.
_ENOUGH = 5
# Ports that programs are given, of which each connection takes another.
_PORTS = (32_768, 60_999)
_PROTOCOLS = {6: "tcp", 17: "udp"}
_LINKTYPE_RAW = 101
_SNAPLEN = 65_535


@dataclass(frozen=True)
class Placed:
    """A recorded connection and where it begins, microseconds since 1970."""

    connection: Connection
    begin: int
    played: Played
    kind: str = ""


@dataclass
class Day:
    """A composed day: what is where, and the attack in it."""

    number: int
    seed: int
    attack: Attack | None
    placed: list[Placed] = field(default_factory=list)

    @property
    def begin(self) -> int:
        return _FIRST + self.number * int(DAY) * _SECOND

    @property
    def capture(self) -> str:
        return f"day-{self.number + 1:03d}.pcap.zst"


def plan(played: list[Played], seed: int, ordinary: int) -> list[Day]:
    """One day for each attack of the schedule, after `ordinary` days without. The same seed gives the same days.

    Raises:
        LabError: an attack was not recorded.
    """
    days = []
    turns: Counter[str] = Counter()
    for number, attack in enumerate([*[None] * ordinary, *attacks()]):
        draw = Random(f"{seed} {number}")
        day = Day(number, seed, attack)
        for host in sorted({each.host for each in played}):
            _ordinary(day, draw, [each for each in played if each.host == host and not each.kind])
        if attack:
            least = _ENOUGH if attack.rhythm else 1
            choices = [each for each in played if each.activity == attack.activity and len(each.connections) >= least]
            if not choices:
                raise LabError(f"nothing (or too little) was recorded of {attack.activity}")
            _attack(day, draw, choices[turns[attack.activity] % len(choices)], attack)
            turns[attack.activity] += 1
        day.placed.sort(key=lambda each: each.begin)
        days.append(day)
    return days


def _ordinary(day: Day, draw: Random, played: list[Played]) -> None:
    """What one host does."""
    of: dict[str, list[Played]] = defaultdict(list)
    for each in played:
        of[each.activity].append(each)
    for activity, times in PEOPLE.items():
        for _ in range(times if activity in of else 0):
            _visit(day, draw.choice(of[activity]), draw.uniform(*WAKING))
    for activity, rhythm in MACHINES.items():
        if activity in of:
            # A program has one server for the day.
            _by_rhythm(
                day, draw, draw.choice(of[activity]), rhythm.period, rhythm.jitter, draw.random() * rhythm.period
            )


def _attack(day: Day, draw: Random, played: Played, attack: Attack) -> None:
    if attack.rhythm:
        begin = draw.random() * _BEGINS
        _by_rhythm(day, draw, played, attack.rhythm.period, attack.rhythm.jitter, begin, attack.kind, MOST)
    else:
        for _ in range(attack.sessions):
            _visit(day, played, draw.uniform(0, DAY - 60), attack.kind)


def _visit(day: Day, played: Played, at: float, kind: str = "") -> None:
    """All that was recorded, so many seconds after the day's begin."""
    for connection in played.connections:
        begin = day.begin + int(at * _SECOND) + connection.begin - played.begin
        day.placed.append(Placed(connection, begin, played, kind))


def _by_rhythm(
    day: Day,
    draw: Random,
    played: Played,
    period: float,
    jitter: float,
    at: float,
    kind: str = "",
    most: int | None = None,
) -> None:
    """Its connections one after the other, all over again when they are through."""
    connections = cycle(played.connections)
    placed = 0
    while at < DAY and (most is None or placed < most):
        day.placed.append(Placed(next(connections), day.begin + int(at * _SECOND), played, kind))
        placed += 1
        at += behaviour.beacon(period, jitter, draw)


def compose(played: list[Played], out: Path, seed: int, ordinary: int, say: Callable[[str], None]) -> None:
    """Write the days into a directory: captures/, days.tsv and pairs.tsv, the two tables last.

    Raises:
        LabError: an attack was not recorded.
        OSError: it can't be written.
    """
    days = plan(played, seed, ordinary)
    hosts = len({each.host for each in played})
    (out / "captures").mkdir(parents=True, exist_ok=True)
    pairs: list[dict[str, object]] = []
    for day in days:
        packets = packets_of(day)
        _write(out / "captures" / day.capture, zstandard.compress(pcap(packets), 3))
        pairs += _pairs(day)
        say(
            f"{day.number + 1}/{len(days)} {day.attack.activity if day.attack else 'ordinary'}: "
            f"{len(day.placed)} connections, {len(packets.times)} packets"
        )
    _write(out / PAIRS, truth.table(PAIR_COLUMNS, pairs).encode())
    _write(out / DAYS, truth.table(DAY_COLUMNS, [_day(day, hosts) for day in days]).encode())


def packets_of(day: Day) -> Packets:
    """A day's packets in order of time. Each connection has a port and sequence numbers of its own."""
    draw = Random(f"{day.seed} {day.number} packets")
    first, last = _PORTS
    ports: dict[str, Iterator[int]] = {}
    parts = []
    for each in day.placed:
        connection = each.connection
        orig, resp = ends(each)
        if orig not in ports:
            start = draw.randrange(last - first + 1)
            ports[orig] = cycle([*range(first + start, last + 1), *range(first, first + start)])
        # A port that is a protocol's own stays.
        port = next(ports[orig]) if connection.orig_port >= 1024 else connection.orig_port
        ahead = (draw.getrandbits(32), draw.getrandbits(32))
        parts.append(again(connection, each.begin, orig, port, resp, ahead))
    widest = max((part.data.shape[1] for part in parts), default=0)
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    data = np.zeros((len(times), widest), np.uint8)
    at = 0
    for part in parts:
        data[at : at + len(part.data), : part.data.shape[1]] = part.data
        at += len(part.data)
    return Packets(
        times[order],
        data[order],
        np.concatenate([part.kept for part in parts])[order],
        np.concatenate([part.lengths for part in parts])[order],
    )


def ends(placed: Placed) -> tuple[str, str]:
    """Originator and responder in a composed day. Each server has an address of its own among all that was recorded."""
    number = placed.played.number
    server = f"198.18.{number // 250}.{1 + number % 250}"
    connection = placed.connection
    orig, resp = (server if each == placed.played.address else each for each in (connection.orig, connection.resp))
    return orig, resp


def pcap(packets: Packets) -> bytes:
    """A capture of raw IP packets, microseconds."""
    head = np.stack([packets.times // _SECOND, packets.times % _SECOND, packets.kept, packets.lengths], axis=1)
    records = np.concatenate([np.ascontiguousarray(head.astype("<u4")).view(np.uint8), packets.data], axis=1)
    has = np.arange(records.shape[1]) < 16 + packets.kept[:, None]
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW) + records[has].tobytes()


def _pairs(day: Day) -> list[dict[str, object]]:
    """The truth of a day."""
    of: dict[tuple[str, str, str, str, str], list[int]] = defaultdict(list)
    for each in day.placed:
        connection = each.connection
        resp_p = f"{connection.resp_port}/{_PROTOCOLS[connection.proto]}"
        orig, resp = ends(each)
        of[(orig, resp, resp_p, each.played.activity, each.kind)].append(each.begin)
    return [
        dict(zip(PAIR_COLUMNS, (day.capture, *key, len(begins), begins[0], begins[-1]), strict=True))
        for key, begins in of.items()
    ]


def _day(day: Day, hosts: int) -> dict[str, object]:
    attack = day.attack
    rhythm = attack.rhythm if attack else None
    return {
        "capture": day.capture,
        "begin": day.begin,
        "hours": f"{DAY / HOUR:g}",
        "hosts": hosts,
        "attack": attack.activity if attack else "",
        "kind": attack.kind if attack else "",
        "period": f"{rhythm.period:g}" if rhythm else "",
        "jitter": f"{rhythm.jitter:g}" if rhythm else "",
        "sessions": attack.sessions or "" if attack else "",
        "seed": day.seed,
    }


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
