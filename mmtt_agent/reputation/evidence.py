"""What logs say of responders: how many verdicts on flows to each say malicious, and which incidents it is part of.

Logs are ``mmtt.log`` and ``mmtt_incidents.log``, of Zeek's or of ours, and our own events in Suricata's form (EVE).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from .. import logs

Address = IPv4Address | IPv6Address
#: What is in every row that matters, so that only those are decoded: the one column that is true or false, a state.
_MALICIOUS = ("\tT\t", '"malicious":true', '"malicious": true')
_STATES = ("opened", "grown", "closed")
#: Columns that are times.
_TIMES = ("ts", "first", "last", "timestamp")
#: Connections of a responder that are told apart; addresses that rows are looked for by (with more, all are decoded).
_CONNECTIONS, _WORDS = 10_000, 200


class EvidenceError(Exception):
    """No log holds any verdicts; a line for each."""


@dataclass
class Suspect:
    """A responder of flows that look malicious.

    Attributes:
        scores: the highest of each flow, by uid, of the first ten thousand.
        kinds: what each looks like, by uid; "" where nobody can be sure.
        malicious, verdicts: how many verdicts say malicious, and how many there are on flows to it in all.
        first, last: µs since 1970, of those that say malicious.
    """

    scores: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    malicious: int = 0
    verdicts: int = 0
    first: int = 1 << 62
    last: int = 0


@dataclass(frozen=True)
class Incident:
    """An incident with one responder, as its latest row has it.

    Attributes:
        ts, first, last: µs since 1970, when the row was written, and when the incident's connections began.
    """

    id: str
    responder: Address
    kind: str
    score: float
    connections: int
    ts: int
    first: int
    last: int
    reason: str


@dataclass
class Evidence:
    """
    Attributes:
        suspects: by address.
        incidents: by id.
        since: µs since 1970, the time of the earliest verdict that there is; None where there is none.
        problems: a line for each log that can't be read, or not all of its rows.
    """

    suspects: dict[Address, Suspect] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    since: int | None = None
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Verdict:
    responder: Address
    ts: int
    uid: str
    malicious: bool
    score: float
    kind: str


def read(paths: Iterable[Path], since: int, kinds: Collection[str]) -> Evidence:
    """What the logs say.

    Args:
        since: µs since 1970; what is older does not count.
        kinds: of flows and incidents in which the responder is the one to be wary of, "" for those whose kind is not
            known. (In a scan, say, it is the one that suffers.)

    Raises:
        EvidenceError: none of them is a log that could hold verdicts.
    """
    found = Evidence()
    ours: list[Path] = []
    for path in paths:
        is_ours, since_then = _looked_into(path)
        if is_ours:
            ours.append(path)
        else:
            found.problems.append(
                f"{path}: holds no verdicts; name a mmtt.log or mmtt_incidents.log, or events of mmtt"
            )
        if since_then is not None:
            found.since = since_then if found.since is None else min(found.since, since_then)
    if found.problems and not ours:
        raise EvidenceError("\n".join(found.problems))
    for path in ours:
        for record in _records(path, found.problems, (*_MALICIOUS, *_STATES)):
            if incident := _incident(record):
                if incident.kind in kinds and incident.last >= since:
                    before = found.incidents.get(incident.id)
                    if before is None or before.ts <= incident.ts:
                        found.incidents[incident.id] = incident
            elif (verdict := _verdict(record)) and verdict.malicious and verdict.ts >= since and verdict.kind in kinds:
                _add(found.suspects.setdefault(verdict.responder, Suspect()), verdict)
    _count_all(ours, since, found.suspects)
    return found


def _looked_into(path: Path) -> tuple[bool, int | None]:
    """Whether verdicts or incidents may be in a log (as in an empty one, and in one that can't be read, which is said
    later), and the time of its first verdict, in µs since 1970."""
    damaged = logs.Damaged()
    is_ours = has_rows = False
    try:
        for record in logs.records(path, damaged, _TIMES):
            if verdict := _verdict(record):
                return True, verdict.ts
            has_rows = True
            is_ours = is_ours or _is_ours(record)
        begin = logs.begins(path, 1)
    except logs.LogError:
        return True, None
    is_empty = not has_rows and not damaged.rows and begin in (b"", b"#", b"{")
    return is_ours or is_empty, None


def _is_ours(record: Mapping[str, Any]) -> bool:
    """Whether it is a row of such a log, or an event of ours."""
    return (
        record.get("event_type") in ("mmtt", "mmtt_incident")
        or record.keys() >= {"uid", "window", "status"}
        or (record.get("state") in _STATES and "connections" in record)
    )


def _add(suspect: Suspect, verdict: _Verdict) -> None:
    suspect.malicious += 1
    suspect.first, suspect.last = min(suspect.first, verdict.ts), max(suspect.last, verdict.ts)
    is_told_apart = verdict.uid in suspect.scores or len(suspect.scores) < _CONNECTIONS
    if is_told_apart and verdict.score >= suspect.scores.get(verdict.uid, 0.0):
        suspect.scores[verdict.uid], suspect.kinds[verdict.uid] = verdict.score, verdict.kind


def _count_all(paths: Iterable[Path], since: int, suspects: Mapping[Address, Suspect]) -> None:
    """All verdicts on flows to the suspects."""
    words = [word for address in suspects for word in _written(address)]
    if not words:
        return
    for path in paths:
        for record in _records(path, [], words if len(words) <= _WORDS else ()):
            verdict = _verdict(record)
            if verdict and verdict.ts >= since and (suspect := suspects.get(verdict.responder)):
                suspect.verdicts += 1


def _written(address: Address) -> set[str]:
    """What is in every row with that address."""
    if isinstance(address, IPv4Address):
        high, low = divmod(int(address), 1 << 16)
        return {str(address), f"{high:x}:{low:x}"}  # within IPv6: ::ffff:707:707
    return {str(address), address.exploded}


def _records(path: Path, problems: list[str], words: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    damaged = logs.Damaged()
    try:
        yield from logs.records(path, damaged, _TIMES, words)
    except logs.LogError as error:
        problems.append(str(error))
    problems += damaged.told(path)


def _verdict(record: Mapping[str, Any]) -> _Verdict | None:
    """What a row of ``mmtt.log`` or an event says; None of one without a verdict, and of others."""
    said = record.get("mmtt") if record.get("event_type") == "mmtt" else record
    if not isinstance(said, Mapping):
        return None
    responder, ts = _address(record, "id.resp_h", "dest_ip"), record.get("ts", record.get("timestamp"))
    malicious, score = said.get("malicious"), said.get("malicious_score")
    if responder is None or not isinstance(ts, int) or not isinstance(malicious, bool):
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        return None
    kind = said.get("malicious_kind")
    return _Verdict(responder, ts, str(said.get("uid")), malicious, float(score), kind if isinstance(kind, str) else "")


def _incident(record: Mapping[str, Any]) -> Incident | None:
    """What a row of ``mmtt_incidents.log`` or an event says; None where it has no responder, and of others."""
    is_event = record.get("event_type") == "mmtt_incident"
    said = record.get("mmtt_incident") if is_event else record
    if not isinstance(said, Mapping) or said.get("state") not in _STATES:
        return None
    responder = _address(record, "resp_h", "dest_ip")
    if responder is None:
        return None
    kind = said.get("kind")
    try:
        first, last = (_time(said[name]) for name in ("first", "last"))
        return Incident(
            id=str(said["id"]),
            responder=responder,
            kind=kind if isinstance(kind, str) else "",
            score=float(said["score"]),
            connections=int(said["connections"]),
            ts=_time(record.get("ts", record.get("timestamp"))),
            first=first,
            last=last,
            reason=str(said.get("reason", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _time(value: Any) -> int:
    """µs since 1970, of a time that :mod:`..logs` has read, or of the text in an event's object."""
    if isinstance(value, str):
        return round(datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() * 1e6)
    return int(value)


def _address(record: Mapping[str, Any], *names: str) -> Address | None:
    for name in names:
        try:
            address = ip_address(record[name])
        except (KeyError, ValueError):
            continue
        return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
    return None
