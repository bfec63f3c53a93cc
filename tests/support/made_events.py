"""Events as Suricata writes them, and verdicts on their flows."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from mmtt_agent.eve import verdicts
from mmtt_agent.eve.known import Verdict

#: µs since 1970 of the second 0 of all that is made here.
BEGIN = 1_795_443_314_000_000


def stamp(seconds: float) -> str:
    """A time as Suricata writes it."""
    when = datetime.fromtimestamp((BEGIN + round(seconds * 1e6)) // 1_000_000, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{(BEGIN + round(seconds * 1e6)) % 1_000_000:06d}+0000"


def event(
    at: float = 0.0,
    port: int = 40_000,
    kind: str = "tls",
    flow_id: int = 1,
    span: tuple[float, float] | None = None,
    ends: tuple[str, str] = ("10.0.0.1", "10.0.0.2"),
    proto: str = "TCP",
    **more: Any,
) -> bytes:
    """A line: of a flow from `port` to 443; one with a span is of kind flow."""
    fields: dict[str, Any] = {"timestamp": stamp(at), "flow_id": flow_id, "event_type": "flow" if span else kind}
    fields |= {"src_ip": ends[0], "src_port": port, "dest_ip": ends[1], "dest_port": 443, "proto": proto}
    if span:
        fields["flow"] = {"pkts_toserver": 6, "start": stamp(span[0]), "end": stamp(span[1])}
    return json.dumps(fields | more, separators=(",", ":")).encode() + b"\n"


def said(uid: str = "C1", window: int = 0, malicious: float = 0.1, **more: Any) -> dict[str, Any]:
    """The object of a verdict."""
    return {
        "uid": uid, "window": window, "packets": 32, "service": "web", "service_score": 0.9, "application": "a",
        "application_score": 0.8, "malicious": malicious > 0.5, "malicious_score": malicious, "status": "ok",
        "model": "m@12345678",
    } | more  # fmt: skip


def verdict(
    at: float = 0.0,
    port: int = 40_000,
    uid: str = "C1",
    ends: tuple[str, str] = ("10.0.0.1", "10.0.0.2"),
    proto: str = "tcp",
    **more: Any,
) -> Verdict:
    """On a window of the flow of :func:`event`."""
    made = verdicts.of(row(at, port, uid, ends, proto, **more))
    assert made is not None
    return made


def row(
    at: float = 0.0,
    port: int = 40_000,
    uid: str = "C1",
    ends: tuple[str, str] = ("10.0.0.1", "10.0.0.2"),
    proto: str = "tcp",
    **more: Any,
) -> dict[str, Any]:
    """The same as it is read from an mmtt.log."""
    where = {"id.orig_h": ends[0], "id.orig_p": port, "id.resp_h": ends[1], "id.resp_p": 443, "proto": proto}
    return {"ts": BEGIN + round(at * 1e6), "uid": uid, **where, **said(uid, **more)}


def logged(*rows: dict[str, Any]) -> bytes:
    """Rows as lines of an mmtt.log in JSON."""
    return b"".join(json.dumps({**each, "ts": each["ts"] / 1e6}).encode() + b"\n" for each in rows)


def told(line: bytes) -> dict[str, Any] | None:
    """The verdict in an event."""
    found = json.loads(line).get("mmtt")
    assert found is None or isinstance(found, dict)
    return found
