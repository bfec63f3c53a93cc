"""What went on between two states of an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rates:
    """Per second. ``services`` and ``applications`` are verdicts, the most frequent first; ``packets`` and, of them,
    those that were ``dropped`` are 0 where Zeek takes them."""

    received: float
    ok: float
    shed: float
    error: float
    malicious: float
    services: dict[str, float]
    applications: dict[str, float]
    packets: float
    dropped: float


def between(before: dict[str, Any], after: dict[str, Any]) -> Rates:
    """Rates from one state to the next; since its start where the agent has been restarted in between."""
    if before["started"] != after["started"] or before["now"] >= after["now"]:
        before = {**after, "now": after["started"], "windows": {"received": 0, "answered": {}}}
        before |= {"services": {}, "applications": {}, "malicious": 0, "capture": {}}
    seconds: float = max(after["now"] - before["now"], 1e-3)

    def per_second(new: int, old: int) -> float:
        return (new - old) / seconds

    def each(key: str) -> dict[str, float]:
        found = {name: per_second(n, before[key].get(name, 0)) for name, n in after[key].items()}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def of_capture(key: str) -> float:
        return per_second(after.get("capture", {}).get(key, 0), before.get("capture", {}).get(key, 0))

    windows, earlier = after["windows"], before["windows"]
    answered = {s: per_second(n, earlier["answered"].get(s, 0)) for s, n in windows["answered"].items()}
    return Rates(
        received=per_second(windows["received"], earlier["received"]),
        ok=answered["ok"],
        shed=answered["shed"],
        error=answered["error"],
        malicious=per_second(after["malicious"], before["malicious"]),
        services=each("services"),
        applications=each("applications"),
        packets=of_capture("packets"),
        dropped=of_capture("dropped"),
    )
