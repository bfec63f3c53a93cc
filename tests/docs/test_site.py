"""The pages build to a site where every link and anchor holds and nothing is fetched; so do links in a checkout."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from places import ROOT

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'mmtt[docs]'")

PAPERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "model/bundle/CARD.md")]
PAPERS += sorted((ROOT / "docs").rglob("*.md"))


def build(configuration: Path, out: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(configuration), "-d", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        # A proxy that refuses every connection: what would be fetched, fails.
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "http_proxy": "http://127.0.0.1:9",
            "https_proxy": "http://127.0.0.1:9",
        },
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    told = build(ROOT / "mkdocs.yml", out)
    assert told.returncode == 0, told.stderr[-4000:]
    return out


class Loaded(HTMLParser):
    """What a browser would load to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        about = dict(attributes)
        self.classes.update((about.get("class") or "").split())
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(about.get("src") or "")
        if tag == "link" and "canonical" not in (about.get("rel") or ""):
            self.found.append(about.get("href") or "")


def test_every_page_is_made_and_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= 16
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert "mermaid" not in loaded.classes, f"{page.name}: Material fetches what draws Mermaid"
        outside = [url for url in loaded.found if re.match(r"(\w+:)?//", url)]
        assert not outside, f"{page.name} loads {outside}"
        for url in loaded.found:
            is_file = url and not url.startswith("data:") and page.name != "404.html"
            assert not is_file or (page.parent / url.partition("?")[0]).exists(), f"{page.name}: {url}"
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )\W*(\w+:)?//", style.read_text(encoding="utf-8")), style.name


def test_papers_from_elsewhere_are_pages_with_their_pictures(site):
    card = (site / "card.html").read_text(encoding="utf-8")
    assert "card/packets.png" in card and (site / "card" / "packets.png").exists()
    assert (site / "changelog.html").exists() and (site / "contributing.html").exists()
    assert not (site / "make").exists()


@pytest.mark.parametrize(
    "broken", ["[a](nowhere.md)", "[a](sensor.md#nothing)", "[a](../nowhere/CARD.md)", "![a](img/none.svg)"]
)
def test_a_broken_link_breaks_the_build(tmp_path, broken):
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text(f"# One\n\n[fine](sensor.md#two) {broken}\n")
    (pages / "sensor.md").write_text("# Other\n\n## Two\n")
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    text = text.replace("docs_dir: docs", f"docs_dir: {pages}").replace(
        "docs/make/hooks.py", f"{ROOT}/docs/make/hooks.py"
    )
    text = re.sub(r"^nav:.*", "", text, flags=re.MULTILINE | re.DOTALL)
    configuration = tmp_path / "mkdocs.yml"
    configuration.write_text(text)
    assert build(configuration, tmp_path / "site").returncode != 0
    (pages / "index.md").write_text("# One\n\n[fine](sensor.md#two)\n")
    told = build(configuration, tmp_path / "site")
    assert told.returncode == 0, told.stderr


def test_links_hold_where_the_repository_is_read_as_it_is():
    for paper in PAPERS:
        text = re.sub(r"```.*?```", "", paper.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^()\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in path or path.startswith("mailto:"):
                continue
            file = paper.parent / path if path else paper
            assert file.exists(), f"{paper.relative_to(ROOT)} links to {target}"
            if anchor and file.suffix == ".md":
                assert anchor in anchors(file), f"{paper.relative_to(ROOT)} links to {target}"


def anchors(paper: Path) -> set[str]:
    """As mkdocs and GitHub both make them of headings of plain words."""
    headings = re.findall(r"^#+ (.+)$", paper.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_pictures_are_on_pages():
    text = "".join(paper.read_text(encoding="utf-8") for paper in PAPERS)
    for picture in (ROOT / "docs" / "img").iterdir():
        assert f"img/{picture.name}" in text, f"no page shows {picture.name}"
