"""What people have said of their network (``site.yaml``): plain YAML, which they edit and keep in git.

::

    domains:                      # servers of one's own
      intra.example.org: {service: web, application: Intranet}
    groups:                       # what `mmtt learn ask` was told
    - {name: Backup, service: file_transfer, uids: [CAbc1, CAbc2], asked: 2026-11-28}
    - {leave: true, uids: [CAbc3]}
    flows:                        # what `mmtt learn feedback` was told
      CHhAvVGS1DHFjwGM9: harmless
"""

from __future__ import annotations

import copy
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from .. import nodes, servers, whole
from ..bundle import MAX_LABEL, UNKNOWN

#: How the file is called, beside the windows.
FILE = "site.yaml"
_HEAD = "# What people have said of this network. Edit it as you like; `mmtt learn` keeps all of it but comments.\n"
_UID = re.compile(r"[!-~]{1,64}")
_WORDS = {"harmless": False, "malicious": True}
_GROUP = ("name", "service", "leave", "uids", "asked")


class NotebookError(Exception):
    """A notebook that can't be used; one line that names the file, the line in it and the remedy."""


@dataclass(frozen=True)
class Group:
    """Flows that are one thing.

    Attributes:
        name: the application.
        leave: not to be asked of again; there is neither a name nor a service then, otherwise one of them at least.
        asked: when that was said; None where nobody has noted it.
    """

    name: str | None
    service: str | None
    uids: list[str]
    leave: bool = False
    asked: date | None = None

    def contradicts(self, other: Group) -> bool:
        """Whether a flow can't be both."""
        names = {each for each in (self.name, other.name) if each}
        services = {each for each in (self.service, other.service) if each}
        return self.leave != other.leave or len(names) > 1 or len(services) > 1

    def __str__(self) -> str:
        return "left alone" if self.leave else " / ".join(each for each in (self.name, self.service) if each)


@dataclass(frozen=True)
class Notebook:
    """
    Attributes:
        domains: suffixes of servers' names; they come before the shipped ones.
        flows: by uid, whether the flow is malicious.
    """

    domains: dict[str, servers.Answer] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    flows: dict[str, bool] = field(default_factory=dict)


def read(path: Path) -> Notebook:
    """What is in the file; nothing where there is none.

    Raises:
        NotebookError: it can't be read, or something in it is wrong.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotebookError(f"{path}: not a regular file; name one, or one that is not there yet")
    except FileNotFoundError:
        return Notebook()
    except OSError as error:
        raise NotebookError(f"{path}: {error.strerror}") from None
    try:
        node = nodes.read(path)
    except nodes.NodesError as error:
        raise NotebookError(f"{error}; correct it") from None
    found = Notebook()
    sections = {"domains": _domains, "groups": _groups, "flows": _flows}
    there: set[str] = set()
    for key, value in () if node is None else _mapping(path, node, "the file"):
        if key.value not in sections:
            raise _wrong(path, key, f"unknown key {key.value!r}; known are {', '.join(sections)}")
        if key.value in there:
            raise _wrong(path, key, f"{key.value} is given twice; put both together")
        there.add(key.value)
        if not nodes.is_null(value):
            sections[key.value](path, value, found)
    return found


@contextmanager
def changing(path: Path) -> Iterator[Notebook]:
    """The notebook, to be changed in the block: when that has ended the file is written whole, if anything is another.
    Nobody else changes it meanwhile, if they ask in the same way.

    Raises:
        NotebookError: as for :func:`read`, or its directory is not there.
        OSError: it can't be written.
    """
    if not path.parent.is_dir():
        raise NotebookError(f"{path.parent}: there is no such directory; make it first, or name another --notebook")
    path = path.resolve()  # where it is a link, what that leads to is the file
    with whole.alone(path.parent):
        found = read(path)
        before = copy.deepcopy(found)
        yield found
        if found != before:
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
            with whole.written(path, mode=mode) as out:
                out.write(_text(found))


def name(text: str) -> str:
    """As an application of the site's may be called.

    Raises:
        ValueError: what is wrong.
    """
    text = text.strip()
    if not text or not text.isprintable() or len(text.encode()) > MAX_LABEL or text in (UNKNOWN, "-", "(empty)"):
        raise ValueError(
            f"a name is 1 to {MAX_LABEL} letters, digits, blanks and the like, and not '{UNKNOWN}', '-' or '(empty)'"
        )
    return text


def service(text: str) -> str:
    """As a service may be called, one of the shipped ones or the site's own.

    Raises:
        ValueError: what is wrong.
    """
    text = text.strip()
    if not servers.can_be_service(text):
        raise ValueError("a service is one word of small letters, digits and '_', such as file_transfer")
    return text


def uid(text: str) -> str:
    """As a flow is called in Zeek's logs.

    Raises:
        ValueError: what is wrong.
    """
    if not _UID.fullmatch(text):
        raise ValueError("a uid is one word such as CHhAvVGS1DHFjwGM9")
    return text


def _domains(path: Path, node: yaml.Node, found: Notebook) -> None:
    for key, value in _mapping(path, node, "domains"):
        about: Any = None
        if isinstance(value, yaml.MappingNode):
            about = {}
            for each, what in value.value:
                about[each.value if isinstance(each, yaml.ScalarNode) else "?"] = nodes.scalar(what)
        try:
            servers.add_domain(found.domains, key.value, about, None)
            if application := about.get("application"):
                name("ok" if application == "-" else application)
        except servers.ServersError as error:
            raise _wrong(path, key, str(error)) from None
        except ValueError as error:
            raise _wrong(path, key, f"domains: {key.value}: {error}") from None


def _groups(path: Path, node: yaml.Node, found: Notebook) -> None:
    said: dict[str, tuple[Group, int]] = {}
    for item in _list(path, node, "groups"):
        group = _group(path, item)
        for each in group.uids:
            other, line = said.setdefault(each, (group, nodes.line(item)))
            if group.contradicts(other):
                raise _wrong(
                    path, item, f"{each} is {group} here, and {other} in the group of line {line}; remove it from one"
                )
        found.groups.append(group)


def _group(path: Path, node: yaml.Node) -> Group:
    about: dict[str, Any] = {}
    for key, value in _mapping(path, node, "a group"):
        if key.value not in _GROUP:
            raise _wrong(path, key, f"groups: unknown key {key.value!r}; known are {', '.join(_GROUP)}")
        if key.value in about:
            raise _wrong(path, key, f"groups: {key.value} is given twice")
        about[key.value] = _uids(path, value) if key.value == "uids" else _value(path, key.value, value)
    leave = about.get("leave", False)
    if not about.get("uids"):
        raise _wrong(path, node, "a group must have uids, a list of flows")
    if leave and (about.get("name") or about.get("service")):
        raise _wrong(path, node, "a group that is left alone has no name and no service; remove them, or leave: true")
    if not leave and not about.get("name") and not about.get("service"):
        raise _wrong(path, node, "a group must have a name or a service, or leave: true")
    return Group(about.get("name"), about.get("service"), about["uids"], leave, about.get("asked"))


def _uids(path: Path, node: yaml.Node) -> list[str]:
    found: dict[str, None] = {}
    for each in _list(path, node, "uids"):
        text = each.value if isinstance(each, yaml.ScalarNode) else "a list or mapping"
        try:
            found[uid(text)] = None
        except ValueError as error:
            raise _wrong(path, each, f"{error}, not {text[:60]!r}") from None
    return [*found]


def _value(path: Path, key: str, node: yaml.Node) -> Any:
    """Of one of a group's keys that hold one value."""
    if nodes.is_null(node):
        return None
    value = nodes.scalar(node)
    try:
        if key == "asked":
            if type(value) is not date:
                raise ValueError("it must be a date such as 2026-11-28")
            return value
        if key == "leave":
            if type(value) is not bool:
                raise ValueError("it must be true or false")
            return value
        if type(value) is not str:
            raise ValueError("it must be text, in quotes if need be")
        return name(value) if key == "name" else service(value)
    except ValueError as error:
        raise _wrong(path, node, f"groups: {key}: {error}") from None


def _flows(path: Path, node: yaml.Node, found: Notebook) -> None:
    for key, value in _mapping(path, node, "flows"):
        word = nodes.scalar(value)
        try:
            uid(key.value)
        except ValueError as error:
            raise _wrong(path, key, f"flows: {error}, not {key.value[:60]!r}") from None
        if not isinstance(word, str) or word not in _WORDS:
            raise _wrong(path, value, f"flows: {key.value} must be {' or '.join(_WORDS)}")
        if found.flows.setdefault(key.value, _WORDS[word]) != _WORDS[word]:
            raise _wrong(path, key, f"flows: {key.value} is there twice, harmless and malicious; remove one of them")


def _mapping(path: Path, node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, f"{what} must hold 'key: value'")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(path, key, f"{what} must hold 'key: value', and a key is one word")
    return list(node.value)


def _list(path: Path, node: yaml.Node, what: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(path, node, f"{what} must be a list")
    return list(node.value)


def _wrong(path: Path, node: yaml.Node, what: str) -> NotebookError:
    return NotebookError(f"{path}:{nodes.line(node)}: {what}")


def _text(notebook: Notebook) -> str:
    words = {malicious: word for word, malicious in _WORDS.items()}
    content: dict[str, Any] = {
        "domains": {
            domain: {key: value for key, value in answer._asdict().items() if value}
            for domain, answer in notebook.domains.items()
        },
        "groups": [{key: value for key in _GROUP if (value := getattr(each, key))} for each in notebook.groups],
        "flows": {each: words[malicious] for each, malicious in notebook.flows.items()},
    }
    filled = {key: value for key, value in content.items() if value}
    # None: what holds nothing but single values is on one line.
    text = yaml.safe_dump(filled, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    return _HEAD + (text if filled else "")
