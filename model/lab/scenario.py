"""The scenario language: YAML in, a checked Scenario out, and from it and a seed the plan of each capture."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import LabError
from .activities import ACTIVITIES
from .links import Profile, profile_of, profiles
from .tunnels import TUNNELS

#: What the value of a key may be.
_Kinds = type | tuple[type, ...]

TOP: dict[str, _Kinds] = {
    "seed": int,
    "captures": int,
    "length": str,
    "snaplen": int,
    "hosts": dict,
    "links": dict,
    "activities": list,
    "capture": list,
}
ACTIVITY: dict[str, _Kinds] = {
    "do": (str, list),
    "with": (str, list),
    "from": (str, list),
    "to": (str, list),
    "through": (str, list),
    "at": str,
    "for": str,
    "repeat": int,
    "chance": (int, float),
}
_MAX_REPEAT = 500


@dataclass(frozen=True)
class Entry:
    """One entry under `activities`. `names`: activities that take turns, each with its "server/client" implementations.

    `at` None: any time that fits. `through`: tunnels that take turns; empty if it is not in one.
    """

    line: int
    names: dict[str, tuple[str, ...]]
    through: tuple[str, ...]
    clients: tuple[str, ...]
    servers: tuple[str, ...]
    at: float | None
    seconds: float
    repeat: int
    chance: float


@dataclass(frozen=True)
class Scenario:
    """A checked scenario file. Times in seconds; `hosts`: name -> the links it may have."""

    name: str
    seed: int
    captures: int
    length: float
    snaplen: int
    hosts: dict[str, tuple[Profile, ...]]
    capture_at: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Step:
    """One activity of a plan: a server program at an address of its own, a client program, when, how long, its seed."""

    number: int
    name: str
    server: str
    client: str
    through: str
    client_host: str
    server_host: str
    address: str
    at: float
    seconds: float
    seed: int


@dataclass
class Plan:
    """What one capture does. The same scenario, number and seed give the same plan."""

    name: str
    number: int
    seed: int
    length: float
    snaplen: int
    links: dict[str, Profile]
    capture_at: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)

    def addresses(self) -> dict[str, list[str]]:
        """Host -> its own address, then one for each server program it runs."""
        found = {name: [f"10.77.0.{number + 1}"] for number, name in enumerate(self.links)}
        for step in self.steps:
            found[step.server_host].append(step.address)
        return found


class _Lines(yaml.SafeLoader):
    """Mappings know the lines of their keys, and a key given twice is an error."""


class _Mapping(dict[str, Any]):
    lines: dict[str, int]
    line: int


def _mapping(loader: _Lines, node: yaml.MappingNode) -> _Mapping:
    made = _Mapping()
    made.line, made.lines = node.start_mark.line + 1, {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise LabError(f"line {key_node.start_mark.line + 1}: key {key!r} must be a word")
        if key in made:
            raise LabError(f"line {key_node.start_mark.line + 1}: {key} is given twice")
        made[key] = loader.construct_object(value_node, deep=True)
        made.lines[key] = key_node.start_mark.line + 1
    return made


_Lines.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def seconds(text: str, where: str) -> float:
    """`90 s`, `1.5 min`, `500 ms`, `1 h` as seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h)\s*", str(text))
    if not match:
        raise LabError(f"{where} must be a time such as `20 s` or `5 min`, not {text!r}")
    return float(match[1]) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600}[match[2]]


def _check_keys(
    mapping: object, known: Mapping[str, _Kinds], needed: tuple[str, ...], line: int, what: str
) -> _Mapping:
    if not isinstance(mapping, _Mapping):
        raise LabError(f"line {line}: {what} must be a mapping of {', '.join(known)}")
    for key, value in mapping.items():
        if key not in known:
            raise LabError(f"line {mapping.lines[key]}: {what} has no key {key!r}; known: {', '.join(known)}")
        kind = known[key]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = " or ".join(
                {"str": "text", "int": "a whole number", "float": "a number", "list": "a list", "dict": "a mapping"}[
                    each.__name__
                ]
                for each in kinds
            )
            raise LabError(f"line {mapping.lines[key]}: {key} must be {wanted}, not {value!r}")
    for key in needed:
        if key not in mapping:
            raise LabError(f"line {mapping.line}: {what} needs {key!r}")
    return mapping


def _names(value: str | list[str], known: Collection[str], line: int, what: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not listed:
        raise LabError(f"line {line}: {what} is empty")
    for name in listed:
        if name not in known:
            raise LabError(f"line {line}: no {what} {name!r}; known: {', '.join(known)}")
    return tuple(listed)


def read(path: Path) -> Scenario:
    """Read and check a scenario file. Raises LabError: `FILE: line N: what is wrong`."""
    try:
        return parse(path.read_text(), path.stem)
    except LabError as error:
        raise LabError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise LabError(f"{path}: not text; a scenario is a YAML file") from None


def parse(text: str, name: str) -> Scenario:
    """The scenario in `text`."""
    try:
        top = yaml.load(text, Loader=_Lines)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise LabError(f"{place}not YAML: {getattr(error, 'problem', error)}") from None
    top = _check_keys(top, TOP, ("length", "hosts", "activities"), 1, "a scenario")
    at = top.lines
    length = seconds(top["length"], f"line {at['length']}: length")
    captures = top.get("captures", 1)
    if not 1 <= captures <= 10_000:
        raise LabError(f"line {at['captures']}: captures must be from 1 to 10000")
    if not 64 <= top.get("snaplen", 160) <= 65535:
        raise LabError(f"line {at['snaplen']}: snaplen must be from 64 to 65535")
    known = profiles()
    for link, values in top.get("links", {}).items():
        line = top["links"].lines[link]
        if not isinstance(values, _Mapping):
            raise LabError(f"line {line}: link {link} must be a mapping")
        try:
            known[link] = profile_of(link, values)
        except LabError as error:
            raise LabError(f"line {line}: {error}") from None
    hosts: dict[str, tuple[Profile, ...]] = {}
    for host, told in top["hosts"].items():
        line = top["hosts"].lines[host]
        values = _check_keys(told, {"link": (str, list)}, ("link",), line, f"host {host}")
        hosts[host] = tuple(known[link] for link in _names(values["link"], known, line, "link"))
    if not 2 <= len(hosts) <= 200:
        raise LabError(f"line {at['hosts']}: a scenario needs from 2 to 200 hosts")
    entries = tuple(_entry(raw, hosts, length, at["activities"]) for raw in top["activities"])
    if not entries:
        raise LabError(f"line {at['activities']}: activities is empty")
    clients = tuple(dict.fromkeys(host for entry in entries for host in entry.clients))
    capture_at = _names(top["capture"], hosts, at["capture"], "host") if "capture" in top else clients
    return Scenario(name, top.get("seed", 1), captures, length, top.get("snaplen", 160), hosts, capture_at, entries)


def _entry(told: object, hosts: Collection[str], length: float, line: int) -> Entry:
    raw = _check_keys(told, ACTIVITY, ("do", "from", "to"), line, "an activity")
    at = raw.lines
    names = {name: ACTIVITIES[name].implementations for name in _names(raw["do"], ACTIVITIES, at["do"], "activity")}
    if "with" in raw:
        if len(names) > 1:
            raise LabError(f"line {at['with']}: `with` needs a single activity to `do`")
        names = {
            name: _names(raw["with"], known, at["with"], f"implementation of {name}") for name, known in names.items()
        }
    through = _names(raw["through"], TUNNELS, at["through"], "tunnel") if "through" in raw else ()
    for name, tunnel in itertools.product(names, through):
        activity = ACTIVITIES[name]
        if not (activity.tcp_ports if TUNNELS[tunnel].ports_only else activity.any_tunnel):
            raise LabError(f"line {at['through']}: {name} can't be led through {tunnel}")
    clients = _names(raw["from"], hosts, at["from"], "host")
    servers = _names(raw["to"], hosts, at["to"], "host")
    if set(clients) & set(servers):
        raise LabError(f"line {raw.line}: a host can't be both `from` and `to`: traffic inside a host has no link")
    lasts = seconds(raw["for"], f"line {at['for']}: for") if "for" in raw else length
    start = seconds(raw["at"], f"line {at['at']}: at") if "at" in raw else None
    if lasts + (start or 0) > length:
        raise LabError(f"line {raw.line}: {', '.join(names)} ends after the capture's length ({length:g} s)")
    repeat, chance = raw.get("repeat", 1), raw.get("chance", 1)
    if not 1 <= repeat <= _MAX_REPEAT:
        raise LabError(f"line {at['repeat']}: repeat must be from 1 to {_MAX_REPEAT}")
    if not 0 < chance <= 1:
        raise LabError(f"line {at['chance']}: chance must be above 0 and at most 1")
    return Entry(raw.line, names, through, clients, servers, start, lasts, repeat, float(chance))


def plan(scenario: Scenario, number: int) -> Plan:
    """The plan of capture `number` (from 0): all that is left to chance is drawn here, from the seed alone."""
    seed = int.from_bytes(hashlib.sha256(f"{scenario.name} {scenario.seed} {number}".encode()).digest()[:4], "big")
    draw = random.Random(seed)
    links = {host: draw.choice(choices) for host, choices in scenario.hosts.items()}
    made = Plan(scenario.name, number, seed, scenario.length, scenario.snaplen, links, scenario.capture_at)
    for entry in scenario.entries:
        for turn in range(entry.repeat):
            # Every draw is made whether used or not, so that one entry's chance does not change the others.
            lucky, later = draw.random() < entry.chance, draw.random()
            # Activities and implementations take turns from capture to capture, so that each gets its share in a few.
            count = number * entry.repeat + turn + entry.line
            name = list(entry.names)[count % len(entry.names)]
            choices = list(itertools.product(entry.names[name], entry.through or ("",)))
            both, tunnel = choices[count // len(entry.names) % len(choices)]
            server, client = both.split("/")
            client_host, server_host = draw.choice(entry.clients), draw.choice(entry.servers)
            own_seed = draw.getrandbits(32)
            if not lucky:
                continue
            start = entry.at if entry.at is not None else later * (scenario.length - entry.seconds)
            step = len(made.steps)
            made.steps.append(
                Step(
                    step,
                    name,
                    server,
                    client,
                    tunnel,
                    client_host,
                    server_host,
                    f"10.77.{1 + step // 250}.{1 + step % 250}",
                    round(start, 3),
                    entry.seconds,
                    own_seed,
                )
            )
    if len(made.steps) > 50_000:
        raise LabError(f"{scenario.name}: more than 50000 activities in a capture")
    return made
