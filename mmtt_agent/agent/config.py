"""The agent's settings: a YAML file in which every key is known and every value is checked, and the command line."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from . import settings
from .settings import (
    ConfigError,
    Fail,
    Incidents,
    Log,
    Metrics,
    Thresholds,
    a_path,
    a_share,
    address,
    can_be_host,
    check_judging,
    default_id,
    integer,
    number,
    seconds,
    setting,
    word,
)

__all__ = [
    "Config",
    "ConfigError",
    "Incidents",
    "Log",
    "Metrics",
    "Reconnect",
    "Record",
    "Thresholds",
    "Tls",
    "address",
    "is_loopback",
    "load",
]


def _url(value: Any) -> str:
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value:
        try:
            parts = urlsplit(value)
            plain = parts.username is None and parts.password is None and not parts.fragment
            if parts.scheme in ("ws", "wss") and can_be_host(parts.hostname) and parts.port != 0 and plain:
                return value
            if parts.scheme == "broker" and can_be_host(parts.hostname) and parts.port and plain and not parts.path:
                return value
        except ValueError:
            pass
    raise ValueError("ws://HOST:PORT/v1/messages/json or wss://…; or broker://HOST:PORT, to listen there")


@dataclass(frozen=True)
class Reconnect:
    """Seconds to wait before connecting again: doubled from ``first`` to ``longest``, less a random part."""

    first: float = setting(0.5, seconds(0.01, 3600))
    longest: float = setting(30.0, seconds(0.01, 3600))


@dataclass(frozen=True)
class Tls:
    """Files for wss://, in PEM: who signs Zeek's certificate, and the agent's own certificate and key."""

    ca: str | None = setting(None, a_path)
    cert: str | None = setting(None, a_path)
    key: str | None = setting(None, a_path)


@dataclass(frozen=True)
class Record:
    """The memory of windows, from which `mmtt learn` learns."""

    #: None for no memory.
    directory: str | None = setting(None, a_path)
    #: Days for which what was recorded is kept.
    keep_days: int = setting(30, integer(1, 36_500))
    #: Bytes that are kept; the oldest go first.
    keep_bytes: int = setting(10_000_000_000, integer(1_000_000, 10**18))


@dataclass(frozen=True)
class Config:
    """All settings of the agent."""

    url: str = setting("ws://127.0.0.1:27759/v1/messages/json", _url)
    id: str = setting(default_id, word)
    bundle: str | None = setting(None, a_path)
    #: Which of the bundle's thresholds for malicious; None for the one that the bundle itself would take.
    false_positives: str | None = setting(None, a_share)
    #: Windows are classified on so many cores.
    threads: int = setting(1, integer(1, 256))
    #: Flows a Zeek node may have unanswered here.
    credit: int = setting(4096, integer(64, 1_000_000))
    #: Flows of all nodes that may be unanswered here.
    max_queued: int = setting(16_384, integer(64, 10_000_000))
    #: Incidents a day that the thresholds are adjusted to, by those of the last days; None: they stay as they are.
    alerts_per_day: float | None = setting(None, number(0.1, 1000))
    #: Seconds for connecting, and for the acknowledgement.
    connect_timeout: float = setting(10.0, seconds(0.1, 3600))
    #: Seconds for answering what is in hand when told to stop.
    stop_timeout: float = setting(10.0, seconds(0, 3600))
    incidents: Incidents = field(default_factory=Incidents)
    thresholds: Thresholds = field(default_factory=Thresholds)
    record: Record = field(default_factory=Record)
    reconnect: Reconnect = field(default_factory=Reconnect)
    tls: Tls = field(default_factory=Tls)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)

    def check_together(self, fail: Fail) -> None:
        """What one value alone does not show."""
        secure = self.url.startswith(("wss:", "broker:"))
        tls = self.tls
        for name in ("ca", "cert", "key"):
            file = getattr(tls, name)
            if file is None:
                continue
            if not secure:
                fail(f"tls.{name}", f"tls.{name} is given, but the url is not wss:// or broker://")
            if not os.access(file, os.R_OK) or os.path.isdir(file):
                fail(f"tls.{name}", f"tls.{name}: {file} can't be read")
        if (tls.cert is None) != (tls.key is None):
            fail("tls.cert" if tls.cert else "tls.key", "tls.cert and tls.key must be given together")
        if not is_loopback(self.url) and not (secure and tls.cert):
            fail(
                "url",
                "Zeek knows no passwords: other machines only by wss:// or broker:// with tls.cert and tls.key, "
                f"not {self.url}",
            )
        check_judging(self, fail)
        if self.alerts_per_day and (self.incidents.share or self.thresholds.incidents):
            fail(
                "alerts_per_day",
                "alerts_per_day, and incidents.share or thresholds.incidents, both say what an incident is: "
                "leave one out",
            )
        if self.reconnect.longest < self.reconnect.first:
            fail("reconnect.longest", "reconnect.longest must not be below reconnect.first")


def load(path: str | Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """The agent's settings, see :func:`.settings.load`."""
    return settings.load(path, overrides, Config)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
