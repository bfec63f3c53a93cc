"""The ranges of pyproject.toml are true: with the oldest of everything, the unit tests of what a sensor runs pass."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from environments import call, environment
from places import ROOT

tomllib = pytest.importorskip("tomllib", reason="Python 3.10 can't read TOML")

_OLDEST = ROOT / "constraints-oldest.txt"
#: What the tests of mmtt_agent need of the extras.
_TOOLS = {"pytest", "hypothesis", "onnx", "lz4"}


def declared(requirements: list[str]) -> dict[str, str]:
    """Name and lower bound of each."""
    return dict(re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", each).groups() for each in requirements)


def test_the_oldest_are_the_lowest_that_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = declared([each for extra in ("train", "test") for each in project["optional-dependencies"][extra]])
    wanted = declared(project["dependencies"]) | {name: extras[name] for name in _TOOLS}
    lines = [line for line in _OLDEST.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert dict(line.split("==") for line in lines) == wanted


def test_what_the_code_says_it_needs_is_what_is_declared():
    from mmtt_agent.runtime import OLDEST

    assert f"onnxruntime=={OLDEST}" in _OLDEST.read_text("utf-8").splitlines()


def oldest_python() -> str | None:
    """The oldest Python here that pyproject.toml allows and that those versions have wheels for."""
    for number in (10, 11):
        managed = sorted(map(str, Path.home().glob(f".pyenv/versions/3.{number}.*/bin/python3.{number}")))
        for found in (shutil.which(f"python3.{number}"), *managed):
            if found and call(found, "-c", "import venv").returncode == 0:
                return found
    return sys.executable if sys.version_info < (3, 12) else None


def test_the_unit_tests_pass_with_the_oldest(wheel, tmp_path):
    python = oldest_python()
    if python is None:
        pytest.skip("no Python 3.10 or 3.11 here: the oldest NumPy has no wheel for newer ones")
    old = environment(tmp_path / "venv", python)
    old.pip("--only-binary", ":all:", "--constraint", _OLDEST, wheel, *sorted(_TOOLS))
    # Away from the tree, so that what is tested is what was installed.
    away = tmp_path / "away"
    away.mkdir()
    shutil.copytree(ROOT / "tests", away / "tests", ignore=shutil.ignore_patterns("__pycache__", ".tmp"))
    for name in ("zeek-scripts", "pyproject.toml"):
        source = ROOT / name
        shutil.copytree(source, away / name) if source.is_dir() else shutil.copy(source, away)
    done = old.run("python", "-m", "pytest", "-p", "no:cacheprovider", "tests/unit/mmtt_agent", cwd=away, timeout=1800)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
