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
) -> str:
    """
    Args:
        connections: with a verdict.
        seconds: from the first to the latest.
        like: they are alike.
        apart: seconds between them, where they are regular.
        rank: share of harmless flows that their mean is above; ``top_rank``: that the strongest is above.
        failed, short: connections without a verdict.
        responders, originators: pairs with others, where it is about a host with many.
    """
    parts = []
    many = f"{connections:,} {'like ' if like and connections > 1 else ''}connection{'s' * (connections != 1)}"
    if responders is not None:
        many += f" to {responders:,} responders or ports"
    if originators is not None:
        many += f" from {originators:,} originators or to as many ports"
    if connections:
        parts.append(f"{many}{_within(connections, seconds)}")
        if apart is not None:
            parts.append(f"{span(apart)} apart")
        each = "each on average" if connections > 1 else "it is"
        if rank:
            parts.append(f"{each} more suspicious than {rank.replace('%', ' %')} of harmless ones")
        if top_rank and top_rank != rank and connections > 1:
            parts.append(f"the strongest than {top_rank.replace('%', ' %')}")
    elif responders is not None or originators is not None:
        parts.append(f"connections{many.split('connections', 1)[-1]}{_within(2, seconds)}")
    beside = "more " if connections else ""
    if failed:
        parts.append(f"{failed:,} {beside}were not answered or refused")
    if short:
        parts.append(f"{short:,} {beside if not failed else ''}too short for a verdict")
    return ", ".join(parts)


def _within(connections: int, seconds: float) -> str:
    return f" in {span(seconds)}" if connections > 1 else ""
