"""Virtual environments that a test makes, and programs that run without this one's Python paths."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

#: What pip says where it reaches no package index.
_OFFLINE = (
    "Could not fetch URL",
    "Connection to ",
    "Failed to establish a new connection",
    "Temporary failure in name",
)


def call(*command, **options) -> subprocess.CompletedProcess:
    """Run a program to its end, without this environment's Python paths."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    settings = {"capture_output": True, "text": True, "timeout": 560, "env": environment, "stdin": subprocess.DEVNULL}
    return subprocess.run([str(part) for part in command], check=False, **settings | options)


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    at: Path

    def run(self, program: str, *arguments, **options) -> subprocess.CompletedProcess:
        return call(self.at / "bin" / program, *arguments, **options)

    def pip(self, *arguments) -> None:
        """Install; the test is skipped where there is no package index to be reached."""
        done = self.run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)
        said = done.stdout + done.stderr
        if done.returncode and any(sign in said for sign in _OFFLINE):
            pytest.skip(f"no package index can be reached: {said.splitlines()[-1]}")
        assert done.returncode == 0, said


def environment(at: Path, python: str = sys.executable) -> Environment:
    done = call(python, "-m", "venv", at)
    assert done.returncode == 0, done.stdout + done.stderr
    return Environment(at)
