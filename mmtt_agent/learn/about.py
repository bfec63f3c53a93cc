"""A group of flows as a person would look at it, or a program: what is in the windows and in Zeek's logs of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .groups import Cluster
from .names import Known

if TYPE_CHECKING:
    from ..record.rows import Windows

_HOUR = 3_600_000_000
#: A name that stands for several, which says nothing.
_SEVERAL = "*"


@dataclass(frozen=True)
class About:
    """
    Attributes:
        id: the uid of the most typical flow.
        uids: of all flows, in order of time.
        since, until: µs since 1970, of the first and the last window.
        hours: how many flows began in each hour of the day, UTC.
        joined: how many of the flows conn.log has.
        ports, originators, responders, names: how many of those were with each; ports such as "443/tcp".
        services, applications: what the network thinks: how many flows, and its score on average.
        malicious: how many flows it takes for malicious.
        sizes, times: of the most typical flow's first window; payload bytes (positive from the originator), µs.
        worth: see :class:`.groups.Cluster`.
    """

    id: str
    uids: list[str]
    since: int
    until: int
    hours: list[int]
    joined: int
    ports: Counter[str]
    originators: Counter[str]
    responders: Counter[str]
    names: Counter[str]
    services: dict[str, tuple[int, float]]
    applications: dict[str, tuple[int, float]]
    malicious: int
    sizes: list[int]
    times: list[int]
    worth: float


def about(cluster: Cluster, windows: Windows, known: Known) -> About:
    """What there is to see of a group."""
    rows = cluster.rows
    uids = windows.uid[rows].tolist()
    connections = [each for uid in uids if (each := known.connections.get(uid))]
    ts, typical = windows.ts[rows], cluster.typical
    packets = int(windows.series.lengths[typical])
    return About(
        id=windows.uid[typical],
        uids=uids,
        since=int(ts.min()),
        until=int(ts.max()),
        hours=np.bincount(ts // _HOUR % 24, minlength=24).tolist(),
        joined=len(connections),
        ports=Counter(f"{each.resp_p}/{each.proto}" for each in connections),
        originators=Counter(each.orig for each in connections),
        responders=Counter(each.resp for each in connections),
        names=Counter(name for uid in uids if (name := known.names.get(uid, _SEVERAL)) != _SEVERAL),
        services=_thought(windows.service[rows], windows.service_score[rows]),
        applications=_thought(windows.application[rows], windows.application_score[rows]),
        malicious=int(windows.malicious[rows].sum()),
        sizes=windows.series.sizes[typical, :packets].tolist(),
        times=windows.series.times[typical, :packets].tolist(),
        worth=cluster.worth,
    )


def _thought(labels: np.ndarray, scores: np.ndarray) -> dict[str, tuple[int, float]]:
    """By label, how many flows and the score on average; the most frequent first."""
    by_label: defaultdict[str, list[float]] = defaultdict(list)
    for label, score in zip(labels.tolist(), scores.tolist(), strict=True):
        by_label[label].append(score)
    ordered = sorted(by_label.items(), key=lambda each: (-len(each[1]), each[0]))
    return {label: (len(found), round(sum(found) / len(found), 4)) for label, found in ordered}


def as_json(group: About) -> dict[str, Any]:
    """For JSON: times in seconds, what is counted by how often."""
    content: dict[str, Any] = dict(vars(group))
    content.update(since=group.since / 1e6, until=group.until / 1e6, flows=len(group.uids), worth=round(group.worth, 2))
    for key in ("ports", "originators", "responders", "names"):
        content[key] = dict(content[key].most_common())
    for key in ("services", "applications"):
        content[key] = {label: {"flows": flows, "score": score} for label, (flows, score) in content[key].items()}
    first = ("id", "flows", "worth")
    return {key: content[key] for key in (*first, *(each for each in content if each not in (*first, "uids")), "uids")}


#: Of TSV: a line a group.
COLUMNS = (
    "id", "flows", "worth", "since", "until", "hours", "joined", "ports", "originators", "responders", "names",
    "services", "applications", "malicious",
)  # fmt: skip


def as_row(group: About) -> list[str]:
    """The columns of TSV; in one that holds several, as ``hours`` does, they are parted by commas, the most frequent
    first, each with how many flows it has behind a ``=``."""
    content = as_json(group)
    content["hours"] = {f"{hour:02d}": flows for hour, flows in enumerate(group.hours) if flows}
    for key in ("services", "applications"):
        content[key] = {label: each["flows"] for label, each in content[key].items()}
    return [_cell(content[name]) for name in COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={flows}" for name, flows in value.items())
    return str(value)
