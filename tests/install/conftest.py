"""The wheel of this tree, and an environment that it alone is installed in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from environments import Environment, environment
from places import ROOT

#: What a wheel is made of; a copy, for setuptools leaves a build/ where it works.
_SOURCES = ("mmtt_agent", "model", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    scratch = tmp_path_factory.mktemp("wheel")
    tree = scratch / "tree"
    tree.mkdir()
    for name in _SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, tree)
    maker = environment(scratch / "maker")
    maker.pip("--constraint", ROOT / "constraints.txt", "setuptools", "wheel")
    done = maker.run(
        "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", scratch, tree
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = scratch.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def plain(wheel, tmp_path_factory) -> Environment:
    """What a user gets of `pip install mmtt`."""
    made = environment(tmp_path_factory.mktemp("plain") / "venv")
    made.pip("--constraint", ROOT / "constraints.txt", wheel)
    return made
