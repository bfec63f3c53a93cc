"""Where labelled captures come from: a manifest names one of these kinds, and what it needs."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..errors import DatasetError
from ..labels import Taxonomy
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


def read_manifest(path: Path, taxonomy: Taxonomy) -> Source:
    """The source that a manifest describes; a directory stands for a manifest of kind tables. Paths in a manifest are
    relative to it.

    Raises:
        DatasetError: it can't be read, or a key or a value is wrong.
    """
    if path.is_dir():
        return TableSource(path, taxonomy)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    kind = content.pop("kind", None) if isinstance(content, dict) else None
    if kind not in _KEYS:
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
    if content.get("malicious") not in (None, True, False):
        raise DatasetError(f"{path}: malicious must be true or false, or left out if it is not known")
    if not isinstance(content.get("domains", {}), dict):
        raise DatasetError(f"{path}: domains must hold suffixes, each with a service and perhaps an application")
    return ServerNameSource(
        directory,
        path.parent / str(content.get("logs", content["directory"])),
        str(content.get("origin", "own")),
        taxonomy.services,
        content.get("domains"),
        content.get("malicious"),
    )
