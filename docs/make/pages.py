"""Where the pages are, and how what is made gets into them: between two comments that name it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(<!-- made: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill(page: str, texts: dict[str, str]) -> str:
    """The page's text with every made block put in anew.

    Raises:
        KeyError: the page wants a block that nobody makes.
    """
    text = (DOCS / page).read_text(encoding="utf-8")
    return _BLOCK.sub(lambda found: f"{found[1]}\n{texts[found[2]].strip()}\n\n{found[3]}", text)


def cell(text: str) -> str:
    """Text in a cell of a table: on one line, and no bar that would end it."""
    return " ".join(text.split()).replace("|", "\\|")
