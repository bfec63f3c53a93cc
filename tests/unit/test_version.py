"""The version is raised in one place, and the rest holds to it; a model that changes is another version's."""

import hashlib
import re
import subprocess

import pytest
from places import ROOT

from mmtt_agent import __version__

BUNDLE = ROOT / "model" / "bundle"
VERSIONS = BUNDLE / "versions.tsv"
REMEDY = "raise __version__ in mmtt_agent/__init__.py, and add a row for it to model/bundle/versions.tsv"


def sha256(name: str) -> str:
    return hashlib.sha256((BUNDLE / name).read_bytes()).hexdigest()


def rows() -> dict[str, list[str]]:
    """By version: the sums of its model.onnx and bundle.yaml."""
    lines = [line.split("\t") for line in VERSIONS.read_text().splitlines() if not line.startswith("#")][1:]
    assert len({version for version, *_ in lines}) == len(lines), "a version twice"
    return {version: sums for version, *sums in lines}


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("zkg.meta", r"^version = (.+)$"),
        ("model/bundle/bundle.yaml", r"^mmtt: (.+)$"),
        ("CHANGELOG.md", r"^## \[?v?(\d[^\s\]]*)"),
    ],
)
def test_all_that_name_a_version_name_this_one(file, pattern):
    path = ROOT / file
    if not path.exists():
        pytest.skip(f"no {file} here")
    assert re.search(pattern, path.read_text("utf-8"), re.MULTILINE)[1] == __version__


def test_packages_take_it_from_the_code():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'version = { attr = "mmtt_agent.__version__" }' in text
    assert not re.search(r'^version = "', text, re.MULTILINE)


def test_a_changed_model_has_a_changed_version():
    last, sums = list(rows().items())[-1]
    assert last == __version__, REMEDY
    assert sums == [sha256("model.onnx"), sha256("bundle.yaml")], f"what ships is not {last}'s model any more: {REMEDY}"


def test_what_a_version_once_meant_it_means_for_ever():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    git = ["git", "-C", str(ROOT), "log", "--format=", "--no-color", "-p", "--", str(VERSIONS)]
    history = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    now = VERSIONS.read_text().splitlines()
    committed = [line[1:] for line in history.splitlines() if re.match(r"[+-]\d", line)]
    assert [line for line in committed if line not in now] == [], f"a row of versions.tsv was changed; {REMEDY}"
