"""YAML as nodes, which know the lines that they are on; no tag is ever turned into an object of Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class NodesError(ValueError):
    """A file that can't be read as YAML; one line that names it and the place."""


def read(path: Path) -> yaml.Node | None:
    """What a file holds; None where that is nothing.

    Raises:
        NodesError: it can't be read, or is not YAML.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise NodesError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise NodesError(f"{path}: not UTF-8 at byte {error.start}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}" if mark else ""
        raise NodesError(f"{path}{place}: not YAML: {' '.join((error.problem or str(error)).split())}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise NodesError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    return None if node is None or is_null(node) else node


def scalar(node: yaml.Node) -> Any:
    """A node's value as YAML means it; None for lists and mappings, and for what YAML can't say."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        return None


def is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def line(node: yaml.Node) -> int:
    """Counted from 1."""
    return int(node.start_mark.line) + 1
