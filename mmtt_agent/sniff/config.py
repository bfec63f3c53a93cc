"""The settings of ``mmtt sniff``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..agent import settings
from ..agent.settings import (
    ConfigError,
    Fail,
    Incidents,
    Log,
    Metrics,
    Thresholds,
    a_path,
    a_share,
    check_judging,
    default_id,
    integer,
    one_of,
    seconds,
    setting,
    word,
)
from ..community_id import MAX_SEED

__all__ = ["FORMATS", "Config", "ConfigError", "load"]

#: What verdicts can be written as.
FORMATS = ("table", "tsv", "json", "eve")


def _interfaces(value: Any) -> str:
    names = value.split(",") if type(value) is str else [""]
    if not all(0 < len(name.encode()) < 16 and name.isprintable() and not set(name) & set("/ :") for name in names):
        raise ValueError("the name of an interface, or several with commas between them")
    if len(set(names)) < len(names):
        raise ValueError("each interface once")
    return str(value)


def _text(value: Any) -> str:
    if type(value) is not str or not value.isprintable():
        raise ValueError("text on one line")
    return value


def _yes(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("true or false")
    return value


@dataclass(frozen=True)
class Evidence(Incidents):
    """As the agent's. With its workers and their rings a sensor is to get by with 400 MB."""

    max_pairs: int = setting(100_000, integer(1000, 10_000_000))


@dataclass(frozen=True)
class Config:
    """All settings of ``mmtt sniff``."""

    #: Of the interface to listen on; of several with commas between them. None where none is named.
    interface: str | None = setting(None, _interfaces)
    #: As tcpdump's (pcap-filter(7)); empty for all packets.
    filter: str = setting("", _text)
    #: Processes for each interface, which share its connections among them.
    workers: int = setting(1, integer(1, 64))
    #: Connections that are followed at once, by all workers of an interface together; the oldest idle go first.
    max_connections: int = setting(200_000, integer(1000, 100_000_000))
    #: Whether packets with a wrong checksum are left out.
    checksums: bool = setting(True, _yes)
    #: Whom to become once the sockets are open; None to stay who it is.
    user: str | None = setting(None, word)
    #: What to write; None: EVE for ``to``, a table on a terminal, else TSV.
    format: str | None = setting(None, one_of(*FORMATS))
    #: Where mmtt.log and mmtt_incidents.log, or eve.json, are written; None for ``to``.
    directory: str | None = setting(None, a_path)
    #: Where lines go: see :func:`mmtt_agent.sinks.open_sink`.
    to: str = setting("-", _text)
    community_id: bool = setting(False, _yes)
    community_id_seed: int = setting(0, integer(0, MAX_SEED))
    id: str = setting(default_id, word)
    bundle: str | None = setting(None, a_path)
    #: Which of the bundle's thresholds for malicious; None for the one that the bundle itself would take.
    false_positives: str | None = setting(None, a_share)
    #: Windows that may wait for the model, of each worker; more are shed.
    max_queued: int = setting(16_384, integer(64, 10_000_000))
    #: Seconds in the end for the verdicts on connections that are open then.
    stop_timeout: float = setting(30.0, seconds(0, 3600))
    incidents: Evidence = field(default_factory=Evidence)
    thresholds: Thresholds = field(default_factory=Thresholds)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def interfaces(self) -> list[str]:
        return self.interface.split(",") if self.interface else []

    def check_together(self, fail: Fail) -> None:
        """What one value alone does not show."""
        check_judging(self, fail)
        if self.directory is not None and self.to != "-":
            fail("to", "directory and to both say where verdicts go: leave one out")
        if self.directory is not None and self.format == "table":
            fail("format", "a table is for a terminal: use tsv, json or eve for a directory")
        if self.to != "-" and self.format in ("table", "tsv"):
            fail("format", f"{self.format} is for standard output or a directory: use json or eve for {self.to}")


def load(path: str | Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """See :func:`mmtt_agent.agent.settings.load`."""
    return settings.load(path, overrides, Config)


def is_like(path: str | Path) -> bool:
    """Whether a file with a mistake in it is more like these settings than like the agent's: it names an interface."""
    try:
        return any(line.startswith("interface:") for line in Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False
