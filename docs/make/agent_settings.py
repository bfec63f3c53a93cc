"""The table of the agent's settings: keys, defaults and what they may be from the code that reads them, what they
mean from the example that `mmtt agent --print config` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from importlib import resources
from typing import Any

from pages import cell

from mmtt_agent.agent.config import Config

#: Defaults that are made when the agent starts.
_MADE = {"id": "host name and process id"}


def table() -> str:
    about = meanings()
    rows = ["| key | default | may be | |", "|---|---|---|---|"]
    known = []
    for key, field in settings():
        known.append(key)
        rows.append(f"| `{key}` | {_default(key, field)} | {cell(_may_be(field))} | {cell(about[key])} |")
    if unknown := [key for key in about if key not in known]:
        raise LookupError(f"mmtt-agent.yaml shows {', '.join(unknown)}, which the agent does not know")
    return "\n".join(rows)


def settings(owner: type = Config, prefix: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """Every key of the settings, dotted, and the field that it sets."""
    for field in fields(owner):
        if isinstance(field.default_factory, type) and is_dataclass(field.default_factory):
            yield from settings(field.default_factory, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field


def meanings() -> dict[str, str]:
    """Key -> the comment before it. A group's comment stands for each of its keys that has none of its own."""
    text = (resources.files("mmtt_agent.agent") / "install" / "mmtt-agent.yaml").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    comment: list[str] = []
    group = of_group = ""
    for line in text.splitlines():
        # A setting that is shown as a comment: its key, a colon, a value.
        if key := re.fullmatch(r"( *)(?:# )?([a-z_]+):(?: (\S.*))?", line):
            words = " ".join(comment)
            if not key[1]:
                group, of_group = key[2], words
            name = key[2] if not key[1] else f"{group}.{key[2]}"
            if key[3]:
                found[name] = words or (of_group if key[1] else "")
            comment = []
        elif line.strip().startswith("#"):
            comment.append(line.strip("# "))
        else:
            comment = []
    return found


def _default(key: str, field: Field[Any]) -> str:
    if key in _MADE:
        return _MADE[key]
    if field.default is MISSING:
        raise LookupError(f"{key}: say in _MADE what its default is")
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, tuple):
        value = ":".join(map(str, value))
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _may_be(field: Field[Any]) -> str:
    """What the setting's own check says of a value that it refuses."""
    try:
        field.metadata["check"](object())
    except ValueError as error:
        return str(error)
    raise LookupError(f"{field.name}: its check takes anything")
