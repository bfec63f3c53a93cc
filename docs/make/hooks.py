"""What mkdocs.yml needs beside its own: papers that live elsewhere in the checkout become pages, and links hold.

In the checkout a page links to a file as it lies there (`../model/bundle/CARD.md`), so that links also hold where the
repository is read as it is. On the site such a link leads to the page made of that file; one to a file that is no page
becomes its path.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[2]
#: Path in the checkout -> path on the site; a folder stands for all in it.
_ELSEWHERE = {
    "model/bundle/CARD.md": "card.md",
    "model/bundle/card/": "card/",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_log = logging.getLogger("mkdocs.plugins.mmtt")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the papers from elsewhere."""
    for source, target in _ELSEWHERE.items():
        for path in sorted((_ROOT / source).iterdir()) if source.endswith("/") else [_ROOT / source]:
            name = target + path.name if source.endswith("/") else target
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links out of the page's folder, from where the page's file is to where the site has what they name."""
    here, docs = Path(str(page.file.abs_src_path)).parent, Path(config.docs_dir)

    def linked(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        path, hash_, anchor = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return found[0]
        file = Path(os.path.normpath(here / path))
        site: str | None
        if file.is_relative_to(docs):
            site = file.relative_to(docs).as_posix()
        elif not file.exists() or not file.is_relative_to(_ROOT):
            _log.warning("%s links to %s, which is not there", page.file.src_uri, target)
            return found[0]
        elif (site := _on_site(file.relative_to(_ROOT).as_posix())) is None:
            return _named(words, path, file.relative_to(_ROOT).as_posix())
        relative = os.path.relpath(site, os.path.dirname(page.file.src_uri) or ".")
        return f"{picture}[{words}]({relative}{hash_}{anchor})"

    return _LINK.sub(linked, markdown)


def _on_site(path: str) -> str | None:
    """Where on the site a file of the checkout that lies outside of docs/ is; None if it is not."""
    for source, target in _ELSEWHERE.items():
        if path == source or (source.endswith("/") and path.startswith(source)):
            return target + path.removeprefix(source)
    return None


def _named(words: str, target: str, path: str) -> str:
    """A link to what is not on the site: its words, and the path in the checkout if they are not that."""
    return f"`{path}`" if words.strip("`") in (path, target) else f"{words} (`{path}`)"
