"""The page: one HTML file that holds its data, its style and its programs, and may fetch nothing.

What comes of logs is data in it and nowhere else: JSON without a letter that HTML knows, which page.js puts into the
page as text. A policy in its head allows no script but the two it came with, by their hashes, and no address at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

_PLACES = ("policy", "title", "style", "data", "library", "program")


def page(title: str, data: dict[str, Any], library: str) -> Iterator[str]:
    """Its parts, one after the other.

    Args:
        data: what page.js shows; see :func:`.summary.summary`.
        library: the charts' JavaScript.
    """
    library, program = _script(library), _script(_file("page.js"))
    parts = {
        "title": html.escape(title),
        "policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"script-src {_hash(library)} {_hash(program)}",
        "style": _file("page.css"),
        "data": json_of(data),
        "library": library,
        "program": program,
    }
    rest = _file("page.html")
    for place in _PLACES:
        before, _, rest = rest.partition(f"{{{{{place}}}}}")
        yield before
        yield parts[place]
    yield rest


def json_of(data: Any) -> str:
    """JSON that may stand in a script element, whatever its texts are."""
    # Nothing but texts can hold these letters.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script(text: str) -> str:
    """A program that may stand in a script element: in JavaScript these can only be in strings and expressions."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")
