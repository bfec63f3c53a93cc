"""The agent's settings: a YAML file in which every key is known and every value is checked, and the command line."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from .. import nodes


class ConfigError(Exception):
    """A setting that can't be used; the text is one line that names the place and the remedy."""


def _default_id() -> str:
    """A name that no other agent has: two on one machine may serve one Zeek."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()) or "agent"
    return f"{host[:40]}-{os.getpid()}"


#: What all are called that a setting has nothing of their own for.
_OTHERS = "others"

# Each setting's `check` takes the value and returns it, or raises ValueError with what it must be.


def _word(value: Any) -> str:
    if type(value) is not str or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise ValueError("1 to 64 letters, digits, '_', '.' or '-'")
    return value


def _path(value: Any) -> str:
    if type(value) is not str or not value or "\0" in value:
        raise ValueError("a path")
    return value


def _share(value: Any) -> str:
    if type(value) is not str or not value.endswith("%"):
        raise ValueError("a share such as 1% or 0.1%")
    return value


def _thresholds(known: tuple[str, ...] | None = None) -> Callable[[Any], dict[str, float]]:
    """For a probability, or several by what they are for: one for the "others" of them, and for each of ``known``, None
    where the settings don't know what there is."""

    def check(value: Any) -> dict[str, float]:
        by_name = value if isinstance(value, dict) else {_OTHERS: value}
        for name, threshold in by_name.items():
            is_known = known is None or name in (*known, _OTHERS)
            if type(name) is not str or not is_known or type(threshold) not in (int, float) or not 0 <= threshold <= 1:
                break
        else:
            if by_name:
                return {name: float(threshold) for name, threshold in by_name.items()}
        raise ValueError(f"a number from 0 to 1, or such by {' or '.join(known) if known else 'service'}")

    return check


def _can_be_host(host: str | None) -> bool:
    """Whether a name or address may be looked up at all; raises ValueError for some that may not."""
    return bool(host) and len(str(host).encode("idna")) <= 253


def _url(value: Any) -> str:
    if type(value) is str and value.isascii() and value.isprintable() and " " not in value:
        try:
            parts = urlsplit(value)
            plain = parts.username is None and parts.password is None and not parts.fragment
            if parts.scheme in ("ws", "wss") and _can_be_host(parts.hostname) and parts.port != 0 and plain:
                return value
            if parts.scheme == "broker" and _can_be_host(parts.hostname) and parts.port and plain and not parts.path:
                return value
        except ValueError:
            pass
    raise ValueError("ws://HOST:PORT/v1/messages/json or wss://…; or broker://HOST:PORT, to listen there")


def _integer(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"an integer from {least} to {most}")
        return value

    return check


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"seconds, from {least:g} to {most:g}")
        return float(value)

    return check


def _number(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return check


def address(value: Any) -> tuple[str, int] | None:
    """Where to listen, from HOST:PORT; None for ``off``, which YAML takes for false."""
    if value is False or value == "off":
        return None
    if type(value) is str:
        with suppress(ValueError):
            parts = urlsplit(f"//{value}")
            if parts.netloc == value and _can_be_host(parts.hostname) and parts.port and parts.username is None:
                return str(parts.hostname), parts.port
    raise ValueError("HOST:PORT or off")


def _one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if type(value) is not str or value not in words:
            raise ValueError(" or ".join(words))
        return value

    return check


def _setting(default: Any, check: Callable[[Any], Any]) -> Any:
    if callable(default):
        return field(default_factory=default, metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class Reconnect:
    """Seconds to wait before connecting again: doubled from ``first`` to ``longest``, less a random part."""

    first: float = _setting(0.5, _seconds(0.01, 3600))
    longest: float = _setting(30.0, _seconds(0.01, 3600))


@dataclass(frozen=True)
class Tls:
    """Files for wss://, in PEM: who signs Zeek's certificate, and the agent's own certificate and key."""

    ca: str | None = _setting(None, _path)
    cert: str | None = _setting(None, _path)
    key: str | None = _setting(None, _path)


@dataclass(frozen=True)
class Log:
    format: str = _setting("text", _one_of("text", "json"))
    level: str = _setting("info", _one_of("debug", "info", "warning", "error"))
    #: Whole seconds from one line of counts to the next.
    counts_every: int = _setting(300, _integer(1, 86_400))


@dataclass(frozen=True)
class Metrics:
    #: Where /metrics, /health and /status are; None for nowhere. There is no authentication.
    listen: tuple[str, int] | None = _setting(("127.0.0.1", 27760), address)


@dataclass(frozen=True)
class Incidents:
    """What connections put together are."""

    #: Seconds for which evidence counts.
    horizon: float = _setting(86_400.0, _seconds(600, 30 * 86_400))
    #: Pairs of hosts and port that evidence is kept of; what there is least of goes first.
    max_pairs: int = _setting(200_000, _integer(1000, 10_000_000))
    #: Which of the bundle's thresholds for incidents; None for the one that the bundle itself would take.
    share: str | None = _setting(None, _share)


@dataclass(frozen=True)
class Thresholds:
    """Least scores instead of the bundle's: one for all that have none of their own ("others"), and some by name. `mmtt
    learn threshold` finds such by the alerts a day that they give. None: the bundle's."""

    #: Of flows that are called malicious, by the service that they are of.
    malicious: Mapping[str, float] | None = _setting(None, _thresholds())
    #: Of incidents, by what they are of.
    incidents: Mapping[str, float] | None = _setting(None, _thresholds(("pair", "originator", "responder")))


@dataclass(frozen=True)
class Record:
    """The memory of windows, from which `mmtt learn` learns."""

    #: None for no memory.
    directory: str | None = _setting(None, _path)
    #: Days for which what was recorded is kept.
    keep_days: int = _setting(30, _integer(1, 36_500))
    #: Bytes that are kept; the oldest go first.
    keep_bytes: int = _setting(10_000_000_000, _integer(1_000_000, 10**18))


@dataclass(frozen=True)
class Config:
    """All settings of the agent."""

    url: str = _setting("ws://127.0.0.1:27759/v1/messages/json", _url)
    id: str = _setting(_default_id, _word)
    bundle: str | None = _setting(None, _path)
    #: Which of the bundle's thresholds for malicious; None for the one that the bundle itself would take.
    false_positives: str | None = _setting(None, _share)
    #: Windows are classified on so many cores.
    threads: int = _setting(1, _integer(1, 256))
    #: Flows a Zeek node may have unanswered here.
    credit: int = _setting(4096, _integer(64, 1_000_000))
    #: Flows of all nodes that may be unanswered here.
    max_queued: int = _setting(16_384, _integer(64, 10_000_000))
    #: Incidents a day that the thresholds are adjusted to, by those of the last days; None: they stay as they are.
    alerts_per_day: float | None = _setting(None, _number(0.1, 1000))
    #: Seconds for connecting, and for the acknowledgement.
    connect_timeout: float = _setting(10.0, _seconds(0.1, 3600))
    #: Seconds for answering what is in hand when told to stop.
    stop_timeout: float = _setting(10.0, _seconds(0, 3600))
    incidents: Incidents = field(default_factory=Incidents)
    thresholds: Thresholds = field(default_factory=Thresholds)
    record: Record = field(default_factory=Record)
    reconnect: Reconnect = field(default_factory=Reconnect)
    tls: Tls = field(default_factory=Tls)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)


def load(path: str | Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """The settings of a file, then those of the command line (dotted keys; None means not given).

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong, with file and line.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    if path is not None:
        values = _read(Path(path), places)
    for key, value in (overrides or {}).items():
        if value is None:
            continue
        *groups, name = key.split(".")
        target = values
        owner: Any = Config
        for group in groups:
            target = target.setdefault(group, {})
            owner = next(f for f in fields(owner) if f.name == group).default_factory
        places[key] = option = "--" + key.replace(".", "-").replace("_", "-")
        try:
            target[name] = next(f for f in fields(owner) if f.name == name).metadata["check"](value)
        except ValueError as error:
            raise ConfigError(f"{option} must be {error}, not {value!r}") from None
    config: Config = _build(Config, values)
    _check_together(config, places, str(path) if path is not None else "settings")
    return config


def _build(owner: Any, values: dict[str, Any]) -> Any:
    groups = {f.name: f.default_factory for f in fields(owner) if is_dataclass(f.default_factory)}
    return owner(**{name: _build(groups[name], v) if name in groups else v for name, v in values.items()})


def _read(path: Path, places: dict[str, str]) -> dict[str, Any]:
    """Checked values by key as nested mappings; ``places`` takes the line of each dotted key."""
    try:
        node = nodes.read(path)
    except nodes.NodesError as error:
        raise ConfigError(str(error)) from None
    return {} if node is None else _mapping(path, node, Config, "", places)


def _mapping(path: Path, node: yaml.Node, owner: type, prefix: str, places: dict[str, str]) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        what = prefix.rstrip(".") or "the file"
        raise ConfigError(f"{path}:{nodes.line(node)}: {what} must hold 'key: value' lines")
    known = {f.name: f for f in fields(owner)}
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        place = f"{path}:{nodes.line(key_node)}"
        if key not in known:
            raise ConfigError(f"{place}: unknown key {prefix + key!r}; known are {', '.join(known)}")
        if key in found:
            raise ConfigError(f"{place}: {prefix + key} is given twice")
        places[prefix + key] = place
        group = known[key].default_factory
        if is_dataclass(group):
            found[key] = (
                {} if nodes.is_null(value_node) else _mapping(path, value_node, group, f"{prefix}{key}.", places)
            )
            continue
        try:
            value = _plain(value_node)
            found[key] = known[key].metadata["check"](value)
        except ValueError as error:
            shown = value_node.value if isinstance(value_node, yaml.ScalarNode) else "a list or mapping"
            raise ConfigError(
                f"{path}:{nodes.line(value_node)}: {prefix}{key} must be {error}, not {str(shown)[:60]!r}"
            ) from None
    return found


def _plain(node: yaml.Node) -> Any:
    """A node's value as YAML means it, a mapping's with the keys' text; lists, which no setting takes, become None.

    Raises:
        ValueError: a key is there twice.
    """
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key in found:
                raise ValueError(f"given once for each: {key!r} is there twice")
            found[key] = _plain(value_node)
        return found
    return nodes.scalar(node)


def _check_together(config: Config, places: dict[str, str], default_place: str) -> None:
    """What one value alone does not show."""

    def fail(key: str, problem: str) -> None:
        place = next((places[k] for k in (key, key.partition(".")[0]) if k in places), default_place)
        raise ConfigError(f"{place}: {problem}")

    secure = config.url.startswith(("wss:", "broker:"))
    tls = config.tls
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
    if not is_loopback(config.url) and not (secure and tls.cert):
        fail(
            "url",
            "Zeek knows no passwords: other machines only by wss:// or broker:// with tls.cert and tls.key, "
            f"not {config.url}",
        )
    if config.false_positives and config.thresholds.malicious and _OTHERS in config.thresholds.malicious:
        fail(
            "thresholds.malicious", "thresholds.malicious and false_positives both say what is malicious: leave one out"
        )
    if config.incidents.share and config.thresholds.incidents and _OTHERS in config.thresholds.incidents:
        fail(
            "thresholds.incidents",
            "thresholds.incidents and incidents.share both say what an incident is: leave one out",
        )
    if config.alerts_per_day and (config.incidents.share or config.thresholds.incidents):
        fail(
            "alerts_per_day",
            "alerts_per_day, and incidents.share or thresholds.incidents, both say what an incident is: leave one out",
        )
    if config.reconnect.longest < config.reconnect.first:
        fail("reconnect.longest", "reconnect.longest must not be below reconnect.first")


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
