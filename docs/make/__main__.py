"""Makes what in docs/ comes from the code: `python docs/make`. With --check it only says what is out of date."""

from __future__ import annotations

import sys

import agent_settings
import architecture
import arrows
import causes
import commands
import interface
import shape
import zeek_options
from pages import DOCS, ROOT, fill


def made() -> dict[str, str]:
    """Path in docs/ -> what belongs there."""
    tables = {
        "zeek options": zeek_options.tables(ROOT / "zeek-scripts"),
        "agent settings": agent_settings.table(),
        "commands": commands.text(),
        "arrows": arrows.tables(),
        "causes": causes.table(),
        "names of mmtt_agent": interface.text("mmtt_agent"),
        "names of mmtt_model": interface.text("mmtt_model"),
    }
    pages = {page: fill(page, tables) for page in ("captures.md", "options.md", "commands.md", "house.md", "python.md")}
    return pages | {
        "img/architecture.svg": architecture.picture(),
        "img/arrows.svg": arrows.picture(),
        "img/shape.svg": shape.picture(ROOT / "tests" / "data" / "lab.pcap"),
    }


def main(arguments: list[str]) -> int:
    stale = []
    for name, text in made().items():
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"docs/{name}")
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}; type: python docs/make", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
