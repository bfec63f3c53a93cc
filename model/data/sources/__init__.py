"""Where labelled captures come from: a manifest names one of these kinds, and what it needs."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from mmtt_agent import servers

from ..errors import DatasetError
from ..taxonomy import Taxonomy
from .iscx import IscxSource
from .server_names import ServerNameSource
from .source import Entry, Source
from .table import TableSource

__all__ = ["Entry", "IscxSource", "ServerNameSource", "Source", "TableSource", "read_manifest"]

_KEYS = {
    "tables": {"directory"},
    "iscx": {"directory"},
    "server_names": {"directory", "logs", "origin", "domains", "malicious"},
}


class _Loader(yaml.SafeLoader):
    """YAML, of which a key that is there twice is an error, not what the last one says."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_manifest(path: Path, taxonomy: Taxonomy) -> Source:
    """The source that a manifest describes; a directory stands for a manifest of kind tables. Paths in a manifest are
    relative to it.

    Raises:
        DatasetError: it can't be read, or a key or a value is wrong.
    """
    if path.is_dir():
        return TableSource(path, taxonomy)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    kind = content.pop("kind", None) if isinstance(content, dict) else None
    if not isinstance(kind, str) or kind not in _KEYS:
        raise DatasetError(f"{path}: kind must be one of {', '.join(_KEYS)}")
    for key in content:
        if key not in _KEYS[kind]:
            raise DatasetError(f"{path}: unknown key {key!r}; known: {', '.join(sorted(_KEYS[kind]))}")
    if not isinstance(content.get("directory"), str):
        raise DatasetError(f"{path}: directory must name the directory of captures")
    directory = path.parent / content["directory"]
    if not directory.is_dir():
        raise DatasetError(f"{path}: directory {directory} is not there")
    if kind == "tables":
        return TableSource(directory, taxonomy)
    if kind == "iscx":
        return IscxSource(directory)
    if not isinstance(content.get("malicious"), bool | None):
        raise DatasetError(f"{path}: malicious must be true or false, or left out if it is not known")
    for key in ("logs", "origin"):
        if key in content and (not isinstance(content[key], str) or not content[key].strip()):
            raise DatasetError(f"{path}: {key} must be text; put it in quotes, or leave it out")
    try:
        domains = servers.own_domains(content.get("domains", {}), taxonomy.services)
    except servers.ServersError as error:
        raise DatasetError(f"{path}: {error}") from None
    return ServerNameSource(
        directory,
        path.parent / content.get("logs", content["directory"]),
        content.get("origin", "own"),
        domains,
        content.get("malicious"),
    )
