"""Who is listed and why: chosen from evidence, kept until it is too old, in a file of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..networks import Network
from .evidence import Address, Evidence, Suspect

#: What it is called.
NAME = "mmtt-reputation.json"
_VERSION = 1
#: Flows and incidents that are named.
_NAMED = 5


class EntriesError(Exception):
    """The file can't be read; one line that names it and the remedy."""


@dataclass(frozen=True)
class Entry:
    """A responder.

    Attributes:
        score: the highest of a flow's or an incident's, 0 to 1.
        flows: that look malicious.
        verdicts: how many there are on flows to it, of which ``malicious`` say so.
        kind: what most of them look like; "" where nobody can be sure.
        first, last: µs since 1970, when the first and the latest flow that looks malicious, or of an incident, began.
        uids: of the flows with the highest scores.
        incidents: their ids.
        reason: of the incident with the highest score; "" without.
    """

    address: str
    score: float
    flows: int
    malicious: int
    verdicts: int
    kind: str
    first: int
    last: int
    uids: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    reason: str = ""

    @property
    def why(self) -> str:
        """In a line."""
        parts = []
        if self.incidents:
            more = f" and {len(self.incidents) - 1} more" if len(self.incidents) > 1 else ""
            parts.append(f"incident {self.incidents[0]}{more}: {self.reason}")
        if self.flows:
            one = self.flows == 1
            parts.append(
                f"{self.flows:,} {'flow that looks' if one else 'flows that look'} malicious "
                f"({self.malicious:,} of {self.verdicts:,} verdicts)"
            )
        return "; ".join(parts)


@dataclass(frozen=True)
class Rules:
    """Who gets in.

    Attributes:
        since: µs since 1970; whose evidence is all older is out.
        min_flows: flows that look malicious, or connections of an incident.
        min_share, min_score: without an incident, those flows must be this share of the verdicts on flows to that
            responder, and one must have this score.
        exempt: networks that are never listed.
        private: addresses that are not public may be.
        most: entries at most; those with an incident first, then the surest.
    """

    since: int
    min_flows: int = 3
    min_share: float = 0.5
    min_score: float = 0.0
    exempt: Sequence[Network] = ()
    private: bool = False
    most: int = 10_000

    def may_be_listed(self, address: Address) -> bool:
        if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
            return False
        return (self.private or address.is_global) and not any(address in network for network in self.exempt)


def chosen(evidence: Evidence, before: Sequence[Entry], rules: Rules) -> tuple[list[Entry], int]:
    """Who is listed from now on, the surest first, and how many there was no room for.

    Args:
        before: who was. One whose evidence the logs no longer reach back to stays until that is too old.
    """
    found: dict[Address, Entry] = {}
    for address in {*evidence.suspects, *(incident.responder for incident in evidence.incidents.values())}:
        if (entry := _entry(address, evidence, rules)) is not None:
            found[address] = entry
    for entry in before:
        address = ip_address(entry.address)
        is_gone = evidence.since is None or entry.last < evidence.since
        if address not in found and is_gone and entry.last >= rules.since:
            found[address] = entry
    allowed = [entry for address, entry in found.items() if rules.may_be_listed(address)]
    allowed.sort(key=lambda entry: (not entry.incidents, -entry.score, -entry.last, entry.address))
    return allowed[: rules.most], max(0, len(allowed) - rules.most)


def _entry(address: Address, evidence: Evidence, rules: Rules) -> Entry | None:
    """None where that is not enough."""
    suspect = evidence.suspects.get(address, Suspect())
    incidents = [
        each
        for each in evidence.incidents.values()
        if each.responder == address and each.connections >= rules.min_flows
    ]
    incidents.sort(key=lambda each: -each.score)
    score = max(suspect.scores.values(), default=0.0)
    enough = (
        len(suspect.scores) >= rules.min_flows
        and suspect.malicious >= rules.min_share * suspect.verdicts
        and score >= rules.min_score
    )
    if not enough and not incidents:
        return None
    kinds = Counter(kind for kind in (*suspect.kinds.values(), *(each.kind for each in incidents)) if kind)
    return Entry(
        address=str(address),
        score=round(max(score, *(each.score for each in incidents)) if incidents else score, 4),
        flows=len(suspect.scores),
        malicious=suspect.malicious,
        verdicts=suspect.verdicts,
        kind=kinds.most_common(1)[0][0] if kinds else "",
        first=min([each.first for each in incidents] + [suspect.first]),
        last=max([each.last for each in incidents] + [suspect.last]),
        uids=tuple(sorted(suspect.scores, key=lambda uid: -suspect.scores[uid])[:_NAMED]),
        incidents=tuple(each.id for each in incidents[:_NAMED]),
        reason=incidents[0].reason if incidents else "",
    )


@dataclass(frozen=True)
class Kept:
    """What the file holds.

    Attributes:
        entries: the surest first.
        to_remove: addresses that a running Suricata could not be told to forget yet.
    """

    entries: tuple[Entry, ...] = ()
    to_remove: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        content = {
            "version": _VERSION,
            "entries": [asdict(entry) for entry in self.entries],
            "to_remove": self.to_remove,
        }
        return json.dumps(content, indent=1) + "\n"


def read(path: Path) -> Kept:
    """
    Raises:
        EntriesError: it can't be read.
    """
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise EntriesError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise EntriesError(f"{path}: damaged; remove it to begin anew") from None
    try:
        if content["version"] != _VERSION:
            raise ValueError("another version")
        return Kept(
            tuple(
                replace(Entry(**each), uids=tuple(each["uids"]), incidents=tuple(each["incidents"]))
                for each in content["entries"]
                if ip_address(each["address"])
            ),
            tuple(map(str, content["to_remove"])),
        )
    except (TypeError, ValueError, KeyError):
        raise EntriesError(
            f"{path}: not what this version of mmtt reputation writes; remove it to begin anew"
        ) from None
