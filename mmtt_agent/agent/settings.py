"""Settings of a service: a YAML file in which every key is known and every value is checked, and the command line."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import yaml

from .. import nodes


class ConfigError(Exception):
    """A setting that can't be used; the text is one line that names the place and the remedy."""


def default_id() -> str:
    """A name that no other agent has: two on one machine may serve one Zeek."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname()) or "agent"
    return f"{host[:40]}-{os.getpid()}"


#: What all are called that a setting has nothing of their own for.
OTHERS = "others"

# Each setting's `check` takes the value and returns it, or raises ValueError with what it must be.


def word(value: Any) -> str:
    if type(value) is not str or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise ValueError("1 to 64 letters, digits, '_', '.' or '-'")
    return value


def a_path(value: Any) -> str:
    if type(value) is not str or not value or "\0" in value:
        raise ValueError("a path")
    return value


def a_share(value: Any) -> str:
    if type(value) is not str or not value.endswith("%"):
        raise ValueError("a share such as 1% or 0.1%")
    return value


def _thresholds(known: tuple[str, ...] | None = None) -> Callable[[Any], dict[str, float]]:
    """For a probability, or several by what they are for: one for the "others" of them, and for each of ``known``, None
    where the settings don't know what there is."""

    def check(value: Any) -> dict[str, float]:
        by_name = value if isinstance(value, dict) else {OTHERS: value}
        for name, threshold in by_name.items():
            is_known = known is None or name in (*known, OTHERS)
            if type(name) is not str or not is_known or type(threshold) not in (int, float) or not 0 <= threshold <= 1:
                break
        else:
            if by_name:
                return {name: float(threshold) for name, threshold in by_name.items()}
        raise ValueError(f"a number from 0 to 1, or such by {' or '.join(known) if known else 'service'}")

    return check


def can_be_host(host: str | None) -> bool:
    """Whether a name or address may be looked up at all; raises ValueError for some that may not."""
    return bool(host) and len(str(host).encode("idna")) <= 253


def integer(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"an integer from {least} to {most}")
        return value

    return check


def seconds(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"seconds, from {least:g} to {most:g}")
        return float(value)

    return check


def number(least: float, most: float) -> Callable[[Any], float]:
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
            if parts.netloc == value and can_be_host(parts.hostname) and parts.port and parts.username is None:
                return str(parts.hostname), parts.port
    raise ValueError("HOST:PORT or off")


def one_of(*words: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if type(value) is not str or value not in words:
            raise ValueError(" or ".join(words))
        return value

    return check


def setting(default: Any, check: Callable[[Any], Any]) -> Any:
    if callable(default):
        return field(default_factory=default, metadata={"check": check})
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True)
class Log:
    format: str = setting("text", one_of("text", "json"))
    level: str = setting("info", one_of("debug", "info", "warning", "error"))
    #: Whole seconds from one line of counts to the next.
    counts_every: int = setting(300, integer(1, 86_400))


@dataclass(frozen=True)
class Metrics:
    #: Where /metrics, /health and /status are; None for nowhere. There is no authentication.
    listen: tuple[str, int] | None = setting(("127.0.0.1", 27760), address)


@dataclass(frozen=True)
class Incidents:
    """What connections put together are."""

    #: Seconds for which evidence counts.
    horizon: float = setting(86_400.0, seconds(600, 30 * 86_400))
    #: Pairs of hosts and port that evidence is kept of; what there is least of goes first.
    max_pairs: int = setting(200_000, integer(1000, 10_000_000))
    #: Which of the bundle's thresholds for incidents; None for the one that the bundle itself would take.
    share: str | None = setting(None, a_share)


@dataclass(frozen=True)
class Thresholds:
    """Least scores instead of the bundle's: one for all that have none of their own ("others"), and some by name. `mmtt
    learn threshold` finds such by the alerts a day that they give. None: the bundle's."""

    #: Of flows that are called malicious, by the service that they are of.
    malicious: Mapping[str, float] | None = setting(None, _thresholds())
    #: Of incidents, by what they are of.
    incidents: Mapping[str, float] | None = setting(None, _thresholds(("pair", "originator", "responder")))


#: Called with a setting's dotted key and what is wrong with it; raises ConfigError with its place.
Fail = Callable[[str, str], None]


class Settings(Protocol):
    """A dataclass of settings and groups of them."""

    def check_together(self, fail: Fail) -> None:
        """Call ``fail`` for what one value alone does not show."""


Kind = TypeVar("Kind", bound=Settings)


class Judging(Protocol):
    """The settings that say what is malicious, and what an incident is."""

    @property
    def false_positives(self) -> str | None: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def thresholds(self) -> Thresholds: ...


def check_judging(config: Judging, fail: Fail) -> None:
    """Call ``fail`` for thresholds that are said twice."""
    if config.false_positives and config.thresholds.malicious and OTHERS in config.thresholds.malicious:
        fail(
            "thresholds.malicious", "thresholds.malicious and false_positives both say what is malicious: leave one out"
        )
    if config.incidents.share and config.thresholds.incidents and OTHERS in config.thresholds.incidents:
        fail(
            "thresholds.incidents",
            "thresholds.incidents and incidents.share both say what an incident is: leave one out",
        )


def changes(old: Any, new: Any, taken: tuple[str, ...]) -> str:
    """The settings, two of one kind, that differ and are not ``taken`` by a reload, by their keys."""
    names = (each.name for each in fields(old) if each.name not in taken)
    return ", ".join(name for name in names if getattr(old, name) != getattr(new, name))


def load(path: str | Path | None, overrides: dict[str, Any] | None, kind: type[Kind]) -> Kind:
    """The settings of a file, then those of the command line (dotted keys; None means not given).

    Args:
        kind: what they are of.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong, with file and line.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    if path is not None:
        values = _read(Path(path), kind, places)
    for key, value in (overrides or {}).items():
        if value is None:
            continue
        *groups, name = key.split(".")
        target = values
        owner: Any = kind
        for group in groups:
            target = target.setdefault(group, {})
            owner = next(f for f in fields(owner) if f.name == group).default_factory
        places[key] = option = "--" + key.replace(".", "-").replace("_", "-")
        try:
            target[name] = next(f for f in fields(owner) if f.name == name).metadata["check"](value)
        except ValueError as error:
            raise ConfigError(f"{option} must be {error}, not {value!r}") from None
    config: Kind = _build(kind, values)

    def fail(key: str, problem: str) -> None:
        known = (places[each] for each in (key, key.partition(".")[0]) if each in places)
        place = next(known, str(path) if path is not None else "settings")
        raise ConfigError(f"{place}: {problem}")

    config.check_together(fail)
    return config


def _build(owner: Any, values: dict[str, Any]) -> Any:
    groups = {f.name: f.default_factory for f in fields(owner) if is_dataclass(f.default_factory)}
    return owner(**{name: _build(groups[name], v) if name in groups else v for name, v in values.items()})


def _read(path: Path, kind: type, places: dict[str, str]) -> dict[str, Any]:
    """Checked values by key as nested mappings; ``places`` takes the line of each dotted key."""
    try:
        node = nodes.read(path)
    except nodes.NodesError as error:
        raise ConfigError(str(error)) from None
    return {} if node is None else _mapping(path, node, kind, "", places)


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
