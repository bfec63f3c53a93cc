"""An incident's reason, in words."""

from __future__ import annotations


def span(seconds: float) -> str:
    """ "12 s", "10 min", "3 h", "2 d": as a person would say it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else "a second"


def reason(
    *,
    connections: int,
    seconds: float,
    like: bool,
    apart: float | None,
    rank: str | None,
    top_rank: str | None,
    failed: int,
    short: int,
    responders: int | None = None,
    originators: int | None = None,
    beside_orig: str | None = None,
    beside_resp: str | None = None,
) -> str:
    """
    Args:
        connections: with a verdict.
        seconds: from the first to the latest.
        like: they are alike.
        apart: seconds between them, where they are regular.
        rank: share of harmless flows that their mean is above ("95%"); ``top_rank``: that the strongest is above.
        failed, short: connections without a verdict.
        responders, originators: pairs with others, where it is about a host with many.
        beside_orig, beside_resp: share of harmless flows that the mean of a pair's originator's (responder's) other
            connections is above, where that speaks for an incident.
    """
    with_whom = ""
    if responders is not None:
        with_whom = f" to {responders:,} responders or ports"
    if originators is not None:
        with_whom = f" from {originators:,} originators or to as many ports"
    parts = []
    if connections == 1:
        parts.append(f"1 connection{with_whom}")
        if rank:
            parts.append(f"more suspicious than {_share(rank)} of harmless ones")
    elif connections:
        parts.append(f"{connections:,} {'like ' if like else ''}connections{with_whom} in {span(seconds)}")
        if apart is not None:
            parts.append(f"{span(apart)} apart")
        if rank:
            parts.append(f"each on average more suspicious than {_share(rank)} of harmless ones")
        if top_rank and top_rank != rank:
            than = "than" if rank else "more suspicious than"
            parts.append(f"the strongest {than} {_share(top_rank)}{'' if rank else ' of harmless ones'}")
    elif with_whom:
        parts.append(f"connections{with_whom} in {span(seconds)}")
    if failed:
        parts.append(f"{_more(failed, connections)} not answered or refused")
    if short:
        parts.append(f"{_more(short, connections)} too short for a verdict")
    for host, share in (("originator", beside_orig), ("responder", beside_resp)):
        if share:
            parts.append(f"the {host}'s other connections more suspicious than {_share(share)}")
    return ", ".join(parts)


def _more(tries: int, connections: int) -> str:
    return f"{tries:,} {'more' if connections else 'connection' + 's' * (tries != 1)}"


def _share(share: str) -> str:
    return share.replace("%", " %")
