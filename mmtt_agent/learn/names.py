"""What a sensor's own logs say of its connections: Zeek's logs, joined by uid, and what they are called for it.

A server's name comes first (ssl.log, quic.log, http.log), by the table of servers and the site's own domains; then the
protocol that Zeek found (conn.log's service); then, for TLS and QUIC without a name, what the host had looked up for
that address shortly before (dns.log).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from sys import intern
from typing import Any, NamedTuple

import numpy as np
import yaml

from .. import logs
from ..servers import Answer, Servers
from .errors import LearnError

#: The column of each log that holds a server's name.
_NAMES = {"ssl": "server_name", "quic": "server_name", "http": "host"}
#: What Zeek's conn.log calls a connection that anything may be inside of.
_ANYTHING = frozenset({"ssl", "quic", "http", "spicy_quic", "websocket"})
#: Microseconds for which an answer to a look-up names its address.
_REMEMBERED = 3_600_000_000
#: Microseconds between a connection's begin and its first window, in the middle of all, from which on clocks differ.
_SKEW = 300_000_000
#: Of recorded connections, the share that conn.log should have.
_JOINED = 0.5
#: What is known of a connection may come from, the best first.
SOURCES = ("server's name", "protocol", "name looked up before")


class Connection(NamedTuple):
    """A connection as conn.log has it; ``ts`` in µs since 1970, "" and 0 for what is not there."""

    ts: int
    orig: str
    resp: str
    resp_p: int
    proto: str
    service: str


@dataclass
class Known:
    """What a sensor's logs say of some connections.

    Attributes:
        connections: by uid, those that conn.log has.
        names: by uid, the name of the server that was asked for, as it stands in the logs.
        answers: by uid, what they are called, and ``by`` which of SOURCES.
        logs: how many logs were read; ``counts``: what else is to be told, by what it counts.
        problems: lines that tell of logs and rows that can't be read.
    """

    connections: dict[str, Connection] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)
    logs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def known(directory: Path, uids: Collection[str], servers: Servers, say: Callable[[str], None]) -> Known:
    """What the logs in ``directory`` (of now and rotated, TSV or JSON, packed or not) say of these connections.

    Args:
        servers: the table of names, with the site's own.
        say: takes a line for each kind of log that is read, as that may take minutes.

    Raises:
        LearnError: there is no conn.log, or none of the connections is in it.
    """
    found = Known()
    # What is kept of half a million connections is to be one object for each text: those of the rows are all others.
    wanted = {uid: uid for uid in uids}
    for row in _rows(directory, "conn", found, say):
        if uid := wanted.get(str(row.get("uid"))):
            found.connections[uid] = Connection(
                int(row.get("ts") or 0),
                intern(str(row.get("id.orig_h") or "")),
                intern(str(row.get("id.resp_h") or "")),
                int(row.get("id.resp_p") or 0),
                intern(str(row.get("proto") or "")),
                intern(str(row.get("service") or "")),
            )
    if not found.logs and found.problems:
        raise LearnError(found.problems[0])
    if not found.logs:
        raise LearnError(f"{directory}: holds no conn.log; name the directory where Zeek writes its logs")
    if not found.connections:
        raise LearnError(
            f"{directory}: none of {len(wanted):,} recorded connections is in its conn.log; are these the logs of the "
            f"sensor that recorded them, and of the same days?{''.join(f' ({each})' for each in found.problems[:1])}"
        )
    if not any(logs.files(directory, log) for log in _NAMES):
        say(f"{directory}: holds no {'.log, '.join(_NAMES)}.log: no server's name is known but by look-ups (dns.log)")
    _server_names(directory, wanted, found, say)
    looked_up = _looked_up(directory, found, say)
    protocols = _protocols()
    for uid, connection in found.connections.items():
        name = found.names.get(uid)
        answer = servers.named(name) if name else None
        by = SOURCES[0]
        if answer is None and not name:
            services = connection.service.split(",") if connection.service else []
            answer = next((protocols[each] for each in services if each in protocols), None)
            by = SOURCES[1]
            if answer is None and not {*services} - _ANYTHING and (looked := looked_up.get(uid)):
                answer, by = servers.named(looked), SOURCES[2]
                found.names[uid] = looked
        if answer is not None and answer != (None, None):
            found.answers[uid], found.by[uid] = answer, by
            found.counts[f"named by {by}"] += 1
        else:
            found.counts["without a known name"] += 1
    return found


def doubts(known: Known, uid: np.ndarray, window: np.ndarray, ts: np.ndarray) -> list[str]:
    """Lines on what makes it doubtful that the logs are those of these windows, which are joined by uid alone.

    Args:
        uid, window, ts: of the recorded windows (n,), which of its connection's each is, and its time in µs.
    """
    lines = []
    first = np.flatnonzero(window == 0)
    begun = [(known.connections.get(each), when) for each, when in zip(uid[first], ts[first].tolist(), strict=True)]
    late = [when - connection.ts for connection, when in begun if connection]
    if late and abs(skew := float(np.median(late))) > _SKEW:
        much, unit = (abs(skew) / 3.6e9, "hours") if abs(skew) > 3.6e9 else (abs(skew) / 6e7, "minutes")
        lines.append(
            f"recorded windows are {much:.1f} {unit} {'later' if skew > 0 else 'earlier'} than the connections of "
            "conn.log with the same uid: are the clocks right, and was a capture's time changed? They are joined all "
            "the same"
        )
    if first.size and len(late) < _JOINED * len(first):
        lines.append(
            f"conn.log has {len(late):,} of {len(first):,} recorded connections, the others stay without a name: are "
            "there logs of all days that were recorded?"
        )
    return lines


def _server_names(directory: Path, wanted: Mapping[str, str], found: Known, say: Callable[[str], None]) -> None:
    several = set()
    for log, column in _NAMES.items():
        for row in _rows(directory, log, found, say):
            uid, name = wanted.get(str(row.get("uid"))), row.get(column)
            if uid and isinstance(name, str) and name and found.names.setdefault(uid, intern(name)) != name:
                several.add(uid)
    for uid in several:
        # A proxy's, or a connection that went on with another name: it is not one thing.
        found.names[uid] = "*"
    found.counts["of several servers' names, left out"] = len(several)


def _looked_up(directory: Path, found: Known, say: Callable[[str], None]) -> dict[str, str]:
    """By uid, of connections that have no name: what the host had looked up for the address."""
    ends = {(each.orig, each.resp) for uid, each in found.connections.items() if uid not in found.names}
    seen: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for row in _rows(directory, "dns", found, say):
        name, orig = str(row.get("query", "")), str(row.get("id.orig_h"))
        for address in map(str, row.get("answers") or []):
            if name and (orig, address) in ends:
                seen[orig, address].append((int(row.get("ts", 0)), name))
    for names in seen.values():
        names.sort()
    looked_up = {}
    for uid, each in found.connections.items():
        names = seen.get((each.orig, each.resp), [])
        before = bisect_right(names, (each.ts, "\U0010ffff")) - 1
        if uid not in found.names and before >= 0 and each.ts - names[before][0] < _REMEMBERED:
            looked_up[uid] = names[before][1]
    return looked_up


def _rows(directory: Path, log: str, found: Known, say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The rows of all logs of a name; what can't be read is told of."""
    try:
        paths = logs.files(directory, log)
    except OSError as error:
        raise LearnError(f"{directory}: {error.strerror or error}") from None
    for path in paths:
        damaged = logs.Damaged()
        try:
            yield from logs.records(path, damaged)
            found.logs += 1
        except logs.LogError as error:
            found.problems.append(str(error))
        found.problems += damaged.told(path)
    if paths:
        say(f"read {len(paths):,} {log}.log")


@cache
def _protocols() -> dict[str, Answer]:
    """What each of Zeek's analyzers settles."""
    content = yaml.safe_load(resources.files(__package__).joinpath("protocols.yaml").read_text())
    return {
        analyzer: Answer(service, application)
        for service, applications in content.items()
        for application, analyzers in applications.items()
        for analyzer in analyzers.split()
    }
