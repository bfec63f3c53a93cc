"""From a server's name to a service and an application: the longest suffix in the table, then roles, then `web`."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_HERE = Path(__file__).parent
#: What can be a name: labels of letters, digits, - and _.
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
#: Labels of four numbers or more, or of hexadecimal digits: addresses turned into names, and made for one machine.
_ADDRESS = re.compile(r"(?:.*\D)?\d{1,3}[.-]\d{1,3}[.-]\d{1,3}[.-]\d{1,3}(?:\D.*)?")
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz2-9]{6}")
#: The names that Tor makes up for its handshakes: www., base32, .com or .net.
_TOR = re.compile(r"www\.([a-z2-7]{6,25})\.(?:com|net)")
#: What an internationalised label begins with.
_IDN = "xn--"
_INSIDE = re.compile(r"[a-z][0-9]+(?=[a-z])")
_RUN = re.compile(r"[bcdfghjklmnpqrstvwxz]{4}")
#: Who has the network gives these names; they stand for nobody's product.
_LOCAL = frozenset(
    {
        "arpa",
        "local",
        "localdomain",
        "localhost",
        "lan",
        "home",
        "internal",
        "intranet",
        "private",
        "corp",
        "box",
        "test",
        "invalid",
        "example",
        "lab",
    }
)


class ServersError(ValueError):
    """A table of names that can't be read; the message says which and why."""


class Answer(NamedTuple):
    """Each None for what can't be told."""

    service: str | None
    application: str | None


class _Entry(NamedTuple):
    answer: Answer
    #: A role further left may say more.
    open: bool


class _Pattern(NamedTuple):
    #: How many labels it has before the last one with `*`.
    labels: int
    text: re.Pattern[str]
    entry: _Entry
    #: Whether its first label is `*` alone: what stands there is no part of what the entry names.
    bare: bool
    #: How many characters it has that must be there.
    letters: int


class Servers:
    """A table of names and the roles that hold where it says `web` or nothing.

    Raises:
        ServersError: a file or an entry that can't be used.
    """

    def __init__(self, files: Iterable[Path], roles: Path) -> None:
        self._suffixes: dict[str, _Entry] = {}
        self._patterns: dict[str, list[_Pattern]] = {}
        self._digest = ""
        about = self._read(roles)
        self._anywhere = _Roles(roles, about.get("anywhere"))
        self._first = _Roles(roles, about.get("first"))
        self._media = _Roles(roles, about.get("first, where media are"))
        self._known = _Roles(roles, about.get("first, of known names"))
        self._unknown = _Roles(roles, about.get("first, of unknown names"))
        self._beside = [
            (frozenset(str(each.get("of")).split()), frozenset(str(each.get("services")).split()))
            for each in map(partial(_held, roles), _listed(roles, about.get("first, beside")))
        ]
        self._media_words = _glob(str(about.get("words of media", "")).split())
        self._fronts = frozenset(str(about.get("in front", "")).split())
        self._double = frozenset(str(about.get("second-level", "")).split())
        self._pages = [
            (frozenset(str(each.get("of")).split()), _Roles(roles, {"web": each.get("labels")}))
            for each in map(partial(_held, roles), _listed(roles, about.get("pages beside")))
        ]
        self._no_owners = frozenset(_listed(roles, about.get("no owners of pages")))
        #: Applications with hosts that deliver media, and do little else.
        self._players: set[str | None] = set()
        for path in files:
            for application, services in self._read(path).items():
                for service, names in _pairs(path, application, services):
                    answer = Answer(_said(service), _said(application))
                    if service == "streaming" and answer.application:
                        self._players.add(answer.application)
                    for name in names:
                        if not self._add(name, _Entry(answer, service == "web")):
                            raise ServersError(f"{path}: {name} stands in the table with two meanings")
        self._players -= set(_listed(roles, about.get("not only of media")))

    def with_domains(self, domains: Mapping[str, Answer]) -> Servers:
        """This table and somebody's own suffixes, which come before equal ones and over roles."""
        more = Servers.__new__(Servers)
        more.__dict__.update(self.__dict__)
        more._suffixes, more._patterns = dict(self._suffixes), dict(self._patterns)
        for name, answer in domains.items():
            suffix = name.lower().strip().strip(".").removeprefix("*.")
            more._suffixes[suffix] = _Entry(answer, False)
            more._seen(repr((suffix, *answer)).encode())
        return more

    @property
    def digest(self) -> str:
        """Changes when the answers may."""
        return self._digest

    @property
    def answers(self) -> set[Answer]:
        """All that an entry or a role can say by itself."""
        patterns = (pattern.entry for under in self._patterns.values() for pattern in under)
        roles = {
            answer
            for some in (self._anywhere, self._first, self._media, self._known, self._unknown)
            for answer in some.answers
        }
        return {entry.answer for entry in (*self._suffixes.values(), *patterns)} | roles

    def named(self, name: str) -> Answer | None:
        """What is known of a name, None where nothing is. Any text will do: ports, a dot at the end, capitals and
        `*.` are put aside; addresses, single words and names of a network's own (`.local`) have no answer.
        """
        read = self._labels(name)
        if read is None:
            return None
        name, words, public = read
        entry, below = self._find(name, words, public)
        if below > 1 and ".".join(words[below:]) in self._fronts:
            customer = ".".join(words[:below])
            if self.knows(customer):
                return self.named(customer)
        if entry is not None and not entry.open:
            return self._beside_it(words, below, entry) or entry.answer
        if len(words) < 2:
            return None
        if entry is None:
            if words[-1] in _LOCAL or words[-1].isdecimal():
                return None
            below = max(len(words) - public - 1, 0)
        answer = self._role(words, below, entry)
        if answer is not None:
            if answer.application is None and entry is not None:
                return Answer(answer.service, entry.answer.application)
            return answer
        if entry is not None:
            return entry.answer
        return _unknown(name, words[-public - 1])

    def knows(self, name: str) -> bool:
        """Whether the table has the name, or one above it: what `named` says of others, it says of any."""
        read = self._labels(name)
        return read is not None and self._find(*read)[0] is not None

    def _labels(self, name: str) -> tuple[str, list[str], int] | None:
        """The name in the form that the table has, its labels, and how many of these are a country's or a registry's;
        None for what is no name."""
        name = name.strip().lower().rstrip(".")
        if ":" in name:
            head, _, port = name.partition(":")
            if not port.isdecimal():
                return None
            name = head.rstrip(".")
        if name.startswith("*."):
            name = name[2:]
        if not name.isascii():
            try:
                name = name.encode("idna").decode()
            except UnicodeError:
                return None
        if len(name) > 253 or not _NAME.fullmatch(name) or _NUMBERS.fullmatch(name):
            return None
        words = name.split(".")
        public = 2 if len(words) > 2 and len(words[-1]) == 2 and words[-2] in self._double else 1
        return name, words, public

    def _find(self, name: str, words: list[str], public: int) -> tuple[_Entry | None, int]:
        """The entry of the longest suffix, and how many labels stand before it. `*` at the end of an entry is any
        public suffix.
        """
        end = name.rindex(words[-public]) if public == 1 else len(name) - len(words[-2]) - len(words[-1]) - 1
        brand = name[:end] + "*"
        start = 0
        for before, word in enumerate(words):
            rest = start + len(word) + 1
            for text in (name, brand) if before < len(words) - public else (name,):
                entry = self._suffixes.get(text[start:])
                if entry is not None:
                    return entry, before
                for labels, pattern, found, bare, _ in self._patterns.get(text[rest:], ()):
                    if labels <= before and pattern.fullmatch(".".join(words[before - labels : before + 1])):
                        return found, before - labels + bare
            start = rest
        return None, 0

    def _role(self, words: list[str], below: int, entry: _Entry | None) -> Answer | None:
        """What the labels say that stand before the entry's, or before the registrable domain where there is none."""
        if not below:
            return None
        for word in words[:below]:
            if answer := self._anywhere.of(word):
                return answer
        if answer := self._first.of(words[0]):
            return answer
        # A name that is known says by its entry what it is, not by its own letters.
        others = words[1:] if entry is None else words[1:below]
        if (answer := self._media.of(words[0])) and self._has_media(others, entry):
            return answer
        return (self._unknown if entry is None else self._known).of(words[0])

    def _has_media(self, words: list[str], entry: _Entry | None) -> bool:
        """Whether what streams there is sound or pictures: whose it is delivers such, or another label says so."""
        if entry is not None and entry.answer.application in self._players:
            return True
        return any(not word.startswith(_IDN) and self._media_words.fullmatch(word) for word in words)

    def _beside_it(self, words: list[str], below: int, entry: _Entry) -> Answer | None:
        """What is beside a service that is not web, if a label right before the entry's says so: its pages, updates."""
        # Of names of one label (.onion) what is before is somebody's site.
        if below != 1 or len(words) < 3:
            return None
        service, application = entry.answer
        if any(not of.isdisjoint(entry.answer) and roles.of(words[0]) for of, roles in self._pages):
            return Answer("web", None if application in self._no_owners else application)
        role = self._anywhere.of(words[0]) or self._first.of(words[0])
        if role and any(service in of and role.service in services for of, services in self._beside):
            return Answer(role.service, application)
        return None

    def _read(self, path: Path) -> dict[Any, Any]:
        try:
            text = path.read_bytes()
            content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise ServersError(f"{path}: can't be read ({error})") from None
        if not isinstance(content, dict):
            raise ServersError(f"{path}: must hold names by application and service")
        self._seen(text)
        return content

    def _seen(self, text: bytes) -> None:
        self._digest = hashlib.sha256(self._digest.encode() + text).hexdigest()

    def _add(self, name: str, entry: _Entry) -> bool:
        """False if the name is there with another meaning."""
        brand = ".*" if name.endswith(".*") else ""
        labels = name.removesuffix(brand).split(".")
        starred = max((at for at, label in enumerate(labels) if "*" in label), default=None)
        if starred is None:
            return self._suffixes.setdefault(name, entry) == entry
        under = self._patterns.setdefault(".".join(labels[starred + 1 :]) + brand, [])
        text = _glob([".".join(labels[: starred + 1])])
        made = _Pattern(starred, text, entry, labels[0] == "*", len(name.replace("*", "")))
        under.append(made)
        # Of several, the one that says more of the name.
        under.sort(key=lambda each: -each.letters)
        return all(made.text.pattern != other.text.pattern or entry == other.entry for other in under)


class _Roles:
    """Labels, some with `*`, by service; `service application` where the role says whose it is, too."""

    def __init__(self, path: Path, content: object) -> None:
        self._words: dict[str, Answer] = {}
        self._patterns: list[tuple[re.Pattern[str], Answer]] = []
        for key, labels in _held(path, content).items():
            service, _, application = str(key).partition(" ")
            answer = Answer(_said(service), application or None)
            globs = [label for label in str(labels).split() if "*" in label]
            self._words.update((label, answer) for label in str(labels).split() if "*" not in label)
            if globs:
                self._patterns.append((_glob(globs), answer))

    @property
    def answers(self) -> set[Answer]:
        return {*self._words.values(), *(answer for _, answer in self._patterns)}

    def of(self, word: str) -> Answer | None:
        """A label with a number behind it (`imap2`, `smtp-01`) has the role of the label."""
        if word.startswith(_IDN):
            # The letters are an encoding's: nobody chose them.
            return None
        found = self._words.get(word) or self._words.get(word.rstrip("0123456789").rstrip("-_"))
        if found is None:
            for pattern, answer in self._patterns:
                if pattern.fullmatch(word):
                    return answer
        return found


def _held(path: Path, content: object) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise ServersError(f"{path}: must hold labels by service")
    return content


def _listed(path: Path, content: object) -> list[Any]:
    if not isinstance(content, list):
        raise ServersError(f"{path}: must list applications")
    return content


def _pairs(path: Path, application: object, services: object) -> Iterable[tuple[str, list[str]]]:
    if not isinstance(application, str) or not isinstance(services, dict):
        raise ServersError(f"{path}: {application}: must hold names by service")
    for service, names in services.items():
        if not isinstance(service, str) or not isinstance(names, str):
            raise ServersError(f"{path}: {application}: {service}: must be names with spaces between them")
        yield service, names.split()


def _said(word: str) -> str | None:
    return None if word == "-" else word


def _glob(labels: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(label) for label in labels))


def _unknown(name: str, site: str) -> Answer | None:
    """A name that nothing is known of is nearly always a web site's: all but addresses and names that nobody chose.
    Of an internationalised one the letters are an encoding's, which look like no word."""
    tor = _TOR.fullmatch(name)
    if tor and not tor[1].isalpha():
        inside = len(_INSIDE.findall(tor[1])) + (_CONSONANTS.search(tor[1]) is not None)
        if inside > 1 or (inside and _RUN.search(tor[1])):
            return Answer("tunnel", "Tor")
    if _ADDRESS.fullmatch(name):
        return None
    if len(site) > 9 and _CONSONANTS.search(site) and not site.startswith(_IDN):
        return None
    return Answer("web", None)


@cache
def shipped() -> Servers:
    """The table that comes with mmtt."""
    roles = _HERE / "roles.yaml"
    return Servers(sorted(set(_HERE.glob("*.yaml")) - {roles}), roles)


def named(name: str) -> Answer | None:
    """What the shipped table knows of a name: (service, application), each None for what can't be told; None where
    nothing is known of it, or it is no name.
    """
    return shipped().named(name)
