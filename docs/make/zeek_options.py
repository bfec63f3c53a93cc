"""The tables of the Zeek package's options."""

from __future__ import annotations

import re
from pathlib import Path

import zeek_scripts
from pages import cell

_BY_DEFAULT = (
    (r"[TF]", "bool"),
    (r"\d+", "count"),
    (r"\d*\.\d+", "double"),
    (r"\d+(\.\d+)?(usec|msec|sec|min|hr|day)s?", "interval"),
    (r"\d+/(tcp|udp)", "port"),
    (r"\d+\.\d+\.\d+\.\d+", "addr"),
    (r'".*"', "string"),
    (r"([\w:]+)\(\)", r"\1"),
)


def tables(directory: Path) -> str:
    """A table for each script that has options."""
    parts = []
    for script in zeek_scripts.scripts(directory):
        found = zeek_scripts.variables(script)
        if not found:
            continue
        about = zeek_scripts.summary(script).split("\n\n")[0]
        parts += [f"### {script.name}", " ".join(about.split()), _table(found)]
        parts += [_entries(variable) for variable in found if _is_long(variable)]
    return "\n\n".join(parts)


def _table(variables: list[zeek_scripts.Variable]) -> str:
    rows = ["| name | | type | default | |", "|---|---|---|---|---|"]
    rows += [f"| `MMTT::{v.name}` | {v.kind} | {cell(_type(v))} | {_default(v)} | {cell(v.about)} |" for v in variables]
    return "\n".join(rows)


def _type(variable: zeek_scripts.Variable) -> str:
    if variable.type:
        return f"`{variable.type}`"
    for pattern, name in _BY_DEFAULT:
        if found := re.fullmatch(pattern, variable.default):
            return f"`{found.expand(name)}`"
    raise ValueError(f"MMTT::{variable.name}: of what type is {variable.default}?")


def _is_long(variable: zeek_scripts.Variable) -> bool:
    return "\n" in variable.default


def _default(variable: zeek_scripts.Variable) -> str:
    if _is_long(variable):
        return f"{len(_rows(variable))} entries, below"
    return "none" if re.fullmatch(r"\{ *\}|[\w:]+\(\)", variable.default) else f"`{cell(variable.default)}`"


def _rows(variable: zeek_scripts.Variable) -> list[tuple[str, str]]:
    """Key and members of each entry of a table of sets."""
    entries = re.findall(r"\[([^\]]+)\] = set\(([^)]*)\)", variable.default)
    if not entries:
        raise ValueError(f"MMTT::{variable.name}: its default is not a table of sets")
    return [(key, ", ".join(re.findall(r'"([^"]+)"', members))) for key, members in entries]


def _entries(variable: zeek_scripts.Variable) -> str:
    rows = [f"| `MMTT::{variable.name}` of | |", "|---|---|"]
    return "\n".join(rows + [f"| `{key}` | {members} |" for key, members in _rows(variable)])
