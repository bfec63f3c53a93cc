"""What is run on a commit (.pre-commit-config.yaml) finds nothing in the whole tree."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT

_CONFIG = ROOT / ".pre-commit-config.yaml"
_HOOKS = [hook for repo in yaml.safe_load(_CONFIG.read_text("utf-8"))["repos"] for hook in repo["hooks"]]


@pytest.mark.parametrize("hook", _HOOKS, ids=lambda hook: hook["id"])
def test_it_finds_nothing(hook):
    tool, *arguments = shlex.split(hook["entry"])
    # The tools of the environment that runs this.
    program = shutil.which(Path(tool).name, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"no {Path(tool).name}: ./bootstrap dev")
    files = ["."] if hook.get("pass_filenames", True) else []
    done = subprocess.run([program, *arguments, *files], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def test_pre_commit_reads_it_and_fetches_nothing():
    config = yaml.safe_load(_CONFIG.read_text("utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for hook in _HOOKS} == {"system"}
    program = shutil.which("pre-commit", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("no pre-commit: ./bootstrap dev")
    subprocess.run([program, "validate-config", _CONFIG], check=True)
