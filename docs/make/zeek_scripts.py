"""Reads the Zeek package as its own documentation: what is exported, and the comments (``##``) before it.

The scripts keep to `zeekscript format`, so a tab more is a level deeper, and a declaration ends where a line ends in
``;``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_EXPORT = re.compile(r"^export \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"(option|const) (\w+)(?:: (.+?))? = (.*?)( &redef)?;", re.DOTALL)
_FIELD = re.compile(r"(\w+): ([^;&]+?)((?: &\w+(?:=\S+)?)*);")
_FAMILY = re.compile(r"register_(counter|gauge)_family\(\s*Telemetry::MetricOpts\((.*?)\)\);", re.DOTALL)
_ROLE = re.compile(r":zeek:see:`([^`]+)`")


@dataclass(frozen=True)
class Variable:
    """``kind`` is "option" or "constant"; ``type`` is empty where Zeek takes it from the default."""

    kind: str
    name: str
    type: str
    default: str
    about: str


@dataclass(frozen=True)
class Field:
    """A field of a record; ``logged`` where it is a column of the log."""

    name: str
    type: str
    logged: bool
    about: str


def scripts(directory: Path) -> list[Path]:
    """Those that are loaded by default in their order, then the others by name."""
    loads = re.findall(r"^@load \./(\S+)", (directory / "__load__.zeek").read_text(encoding="utf-8"), re.MULTILINE)
    first = [directory / f"{name}.zeek" for name in loads]
    rest = sorted(path for path in directory.glob("*.zeek") if path not in first and path.name != "__load__.zeek")
    return first + rest


def summary(script: Path) -> str:
    """The comment (``##!``) that the script begins with; its paragraphs apart by an empty line."""
    lines = []
    for line in script.read_text(encoding="utf-8").splitlines():
        if not line.startswith("##!"):
            break
        lines.append(line[3:].strip())
    return _plain("\n".join(lines))


def variables(script: Path) -> list[Variable]:
    """Exported options, and constants that `redef` can change."""
    found = []
    for about, declaration in _declarations(script):
        match = _VARIABLE.fullmatch(declaration)
        if match and (match[1] == "option" or match[5]):
            kind = "option" if match[1] == "option" else "constant"
            found.append(Variable(kind, match[2], match[3] or "", match[4], about))
    return found


def record(script: Path, head: str) -> list[Field]:
    """The fields of the record that begins with ``head``, such as "type Info: record {"."""
    for _, declaration in _declarations(script):
        if declaration.startswith(head):
            body = declaration[len(head) :].rpartition("}")[0]
            return [
                Field(match[1], match[2].strip(), "&log" in match[3], about)
                for about, line in _commented(body)
                if (match := _FIELD.fullmatch(line))
            ]
    raise LookupError(f"{script}: no {head}")


def notices(directory: Path) -> dict[str, str]:
    """Notice -> what its comment says, of all scripts."""
    head = "redef enum Notice::Type += {"
    return {
        name.rstrip(","): about
        for script in scripts(directory)
        for _, declaration in _declarations(script)
        if declaration.startswith(head)
        for about, name in _commented(declaration[len(head) :].rpartition("}")[0])
    }


def metrics(directory: Path) -> dict[str, str]:
    """Metric, as Prometheus shows it -> its help, of all scripts."""
    found = {}
    for script in scripts(directory):
        for kind, options in _FAMILY.findall(script.read_text(encoding="utf-8")):
            about = dict(re.findall(r'\$(\w+)="([^"]*)"', options))
            unit = f"_{about['unit']}" if about["unit"] else ""
            total = "_total" if kind == "counter" else ""
            found[f"{about['prefix']}_{about['name']}{unit}{total}"] = about["help_text"]
    return found


def _declarations(script: Path) -> Iterator[tuple[str, str]]:
    for block in _EXPORT.findall(script.read_text(encoding="utf-8")):
        yield from _commented(block)


def _commented(block: str) -> Iterator[tuple[str, str]]:
    """Comment and declaration, of each declaration in an indented block. Those deeper in it are part of it."""
    about: list[str] = []
    declaration: list[str] = []
    lines = block.splitlines()
    depth = min((_tabs(line) for line in lines if line.strip()), default=0)
    for line in lines:
        text = line[depth:]
        if not declaration and text.lstrip().startswith("##"):
            about.append(text.strip().removeprefix("##").strip())
        elif not declaration and not text.strip():
            about = []
        elif text.strip():
            declaration.append(text if declaration else text.strip())
            if text.rstrip().endswith((";", ",")) and not text.startswith("\t"):
                yield _plain("\n".join(about)), "\n".join(declaration).strip()
                about, declaration = [], []


def _tabs(line: str) -> int:
    return len(line) - len(line.lstrip("\t"))


def _plain(text: str) -> str:
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
