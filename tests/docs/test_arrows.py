"""The arrows between packages go in one direction: the contracts in pyproject.toml hold."""

import shutil
import subprocess
import sys

import pytest
from places import ROOT

pytest.importorskip("importlinter", reason="import-linter is not installed: pip install import-linter")

CONTRACTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(where) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", CONTRACTS, "--no-cache"], cwd=where, capture_output=True, text=True, check=False
    )


def test_the_contracts_hold():
    told = lint(ROOT)
    assert told.returncode == 0, told.stdout


def test_an_arrow_the_other_way_breaks_them(tmp_path):
    """What the contracts are worth: the same code, with the reader asking the classifier."""
    for name in ("mmtt_agent", "model"):
        shutil.copytree(ROOT / name, tmp_path / {"model": "mmtt_model"}.get(name, name))
    shutil.copytree(ROOT / "model" / "bundle", tmp_path / "mmtt_bundle")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert lint(tmp_path).returncode == 0
    with (tmp_path / "mmtt_agent" / "capture" / "reader.py").open("a") as file:
        file.write("\nfrom ..classify import run  # noqa\n")
    told = lint(tmp_path)
    assert told.returncode != 0 and "mmtt_agent.capture" in told.stdout
