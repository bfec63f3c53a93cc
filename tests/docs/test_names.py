"""What the papers name is there: options, hooks and records of the Zeek package, commands and their options, files."""

import re

import commands
import pytest
from places import ROOT, ZEEK_SCRIPTS

from mmtt_agent import __version__

#: Not the changelog: it names what is gone.
PAPERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
HELP = dict(commands.pages())


def named() -> list[tuple[str, str]]:
    """Each paper's name, and each piece of code in it: spans, and lines of blocks."""
    found = []
    for paper in PAPERS:
        if paper.name == "commands.md":
            continue
        text = paper.read_text(encoding="utf-8")
        blocks = re.findall(r"^```.*?\n(.*?)^```|((?:^    .*\n)+)", text, re.MULTILINE | re.DOTALL)
        pieces = [line.strip() for block in blocks for line in "".join(block).splitlines()]
        pieces += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        found += [(paper.name, piece) for piece in pieces]
    return found


def test_names_of_the_zeek_package():
    scripts = "".join(path.read_text(encoding="utf-8") for path in ZEEK_SCRIPTS.glob("*.zeek"))
    wanted = {(paper, name) for paper, piece in named() for name in re.findall(r"MMTT::(\w+)", piece)}
    assert len(wanted) > 50
    missing = [each for each in wanted if not re.search(rf"\b{each[1]}\b", scripts)]
    assert not missing


def command(words: list[str]) -> str | None:
    """The longest command that they begin with; None if they begin with none."""
    names = [" ".join(["mmtt", *words[:count]]) for count in (2, 1)]
    return next((name for name in names if name in HELP), None)


def test_commands_and_their_options():
    seen = 0
    for paper, piece in named():
        for call in re.findall(r"(?:^|[ /])mmtt (?!\d)([a-z][^|#;<>&)]*)", piece):
            name = command(call.split())
            if name is None:
                assert not re.match(r"[a-z]+ --", call), f"{paper}: {piece}: there is no such command"
                continue
            seen += 1
            for option in re.findall(r"(?<!\S)(--?[a-zA-Z][\w-]*)", call):
                assert re.search(rf"(?<!\S){option}\b", HELP[name]), f"{paper}: {piece}: {name} has no {option}"
    assert seen > 40


@pytest.mark.parametrize("words", [["bench", "zeek", "--runs"], ["classify", "FILE"]])
def test_commands_are_told(words):
    assert command(words) == "mmtt " + " ".join(word for word in words if word in ("bench", "zeek", "classify"))


def test_files_of_the_checkout():
    for paper, piece in named():
        for path in re.findall(
            r"(?<![\w/.-])((?:mmtt_agent|model|zeek-scripts|tests|docs|examples)/[\w./-]*\w)", piece
        ):
            # A folder that its reader makes, as in `mmtt_agent/…`, is not meant.
            assert (ROOT / path).exists() or "…" in piece, f"{paper} names {path}"


def test_the_changelog_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(__version__)}\b", text, re.MULTILINE)
