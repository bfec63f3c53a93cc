"""The README is short, and what it shows is what happens."""

import os
import re
import subprocess
import sys

from places import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = "classify tests/data/lab.pcap --flows 12"


def test_it_is_read_in_three_minutes():
    assert len(TEXT.splitlines()) <= 150


def test_the_tests_are_run_by_what_it_says():
    assert "\n    tests/run\n" in TEXT
    assert "exec tests/run" in (ROOT / ".ci" / "run").read_text()


def test_its_example_prints_what_it_shows():
    shown = re.search(rf"    \./mmtt {EXAMPLE}\n.*?```\n(.*?)```", TEXT, re.DOTALL)[1]
    told = subprocess.run(
        [sys.executable, "-c", "from mmtt_agent.cli import main; main()", *EXAMPLE.split(), "--format", "table"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    assert told.returncode == 0, told.stderr
    assert words(told.stdout) == words(shown)


def words(text: str) -> list[list[str]]:
    """Lines as words. Scores may differ in their last digits by the processor, and so may the order by them."""
    lines = (re.sub(r"[01]\.\d+", "#", line).split() for line in text.splitlines())
    return sorted(line for line in lines if line and not set("".join(line)) <= {"─"})


def test_its_figures_of_the_card_are_the_cards():
    card = (ROOT / "model" / "bundle" / "CARD.md").read_text(encoding="utf-8")
    named = re.search(r"\*\*(mmtt-\d+)\*\*, as shipped [^|]*\|([^\n]*)", card)
    scores = [cell.strip() for cell in named[2].split("|")]
    for page in (TEXT, (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")):
        assert f"{float(scores[1]):.2f}" in page and f"{float(scores[3]):.2f}" in page
