"""The package through zkg: installed from a clone, tested, used on a capture; with a zkg of its own beside Zeek's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmtt_agent.zeek import find as find_zeek

ROOT = Path(__file__).resolve().parents[2]
OFFICE = ROOT / "tests" / "data" / "office.pcap"
HERE = Path(sys.executable).parent


def find_zkg() -> str | None:
    """zkg of this very Python, on PATH, or beside Zeek."""
    beside = f"{find_zeek().parent}" if find_zeek() else ""
    return shutil.which("zkg", path=os.pathsep.join([str(HERE), os.environ.get("PATH", ""), beside]))


pytestmark = [
    pytest.mark.skipif(find_zeek() is None, reason="no Zeek: set ZEEK to the program, or put it on PATH"),
    pytest.mark.skipif(find_zkg() is None, reason="no zkg: pip install zkg"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout, and zkg installs from one"),
]


def said(done: subprocess.CompletedProcess) -> str:
    return done.stdout + done.stderr


class Installation:
    """A clone of the checkout, and a zkg that keeps everything in one directory."""

    def __init__(self, at: Path):
        self.at = at
        self.clone = at / "mmtt"
        self.run("git", "clone", "--quiet", ROOT, self.clone)
        # What is not committed yet is tested too.
        shutil.copytree(ROOT / "zeek-scripts", self.clone / "zeek-scripts", dirs_exist_ok=True)
        shutil.copy(ROOT / "zkg.meta", self.clone)
        for name in ("state", "script", "plugin", "bin"):
            (at / name).mkdir()
        self.config = at / "config"
        self.config.write_text(
            f"[sources]\n[paths]\nstate_dir = {at}/state\nscript_dir = {at}/script\n"
            f"plugin_dir = {at}/plugin\nbin_dir = {at}/bin\n"
        )

    def environment(self) -> dict[str, str]:
        zeek = find_zeek()
        config = zeek.with_name("zeek-config")
        path = subprocess.run([config, "--zeekpath"], capture_output=True, text=True, check=True).stdout.strip()
        programs = [self.at / "bin", HERE, zeek.parent, os.environ.get("PATH", "")]
        return os.environ | {
            "PATH": os.pathsep.join(map(str, programs)),
            "ZEEKPATH": f"{path}:{self.at}/script",
        }

    def run(self, *command, cwd: Path | None = None) -> subprocess.CompletedProcess:
        environment = self.environment() if (self.at / "bin").is_dir() else None
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd or self.at, env=environment, capture_output=True,
            text=True, check=False, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {said(done)}"
        return done

    def commit(self) -> None:
        """zkg takes what is committed."""
        git = ["git", "-C", self.clone, "-c", "user.name=test", "-c", "user.email=test@localhost"]
        self.run(*git, "add", "--all")
        self.run(*git, "commit", "--quiet", "--message", "changed")

    def zkg(self, *arguments) -> subprocess.CompletedProcess:
        return self.run(find_zkg(), "--configfile", self.config, *arguments)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installation:
    it = Installation(tmp_path_factory.mktemp("zkg"))
    # The environment that the package's build would make is this one: nothing is downloaded.
    bootstrap = it.clone / "bootstrap"
    bootstrap.write_text("#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n"
                         f"mkdir -p \"$here/.venv/bin\" && ln -sf {HERE}/* \"$here/.venv/bin/\"\n")  # fmt: skip
    it.commit()
    # Zeek finds the agent by the link that zkg makes.
    it.zkg("install", "--force", "--skiptests", it.clone)
    return it


def rows(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if not line.startswith("#")]


# What local.zeek says in the line that zkg asks one to add, and the package by its name.
@pytest.mark.parametrize("scripts", [["local", "packages"], ["mmtt"]], ids=" ".join)
def test_a_capture_gets_its_verdicts_once_the_package_is_installed(installed, scripts, tmp_path):
    work = tmp_path
    done = installed.run(find_zeek(), "-r", OFFICE, *scripts, cwd=work)
    assert "error" not in said(done)
    assert any("\tok\t" in row for row in rows(work / "mmtt.log"))
    assert rows(work / "conn.log")


def test_the_program_is_linked_beside_zeek(installed):
    linked = installed.at / "bin" / "mmtt"
    assert linked.is_symlink()
    assert "classify" in said(installed.run(linked, "--help"))


def test_zkg_runs_the_packages_own_tests(installed):
    # All of them are run by test_btest.py: here it is zkg's way of calling them that is tested.
    meta = installed.clone / "zkg.meta"
    meta.write_text(meta.read_text().replace("tests/zeek/run", "tests/zeek/run collection/tcp.sh"))
    installed.commit()
    assert "all tests passed" in said(installed.zkg("test", installed.clone))


def test_what_is_removed_is_gone(installed):
    installed.zkg("remove", "--force", "mmtt")
    assert not (installed.at / "bin" / "mmtt").exists()
    assert not (installed.at / "script" / "packages" / "mmtt").exists()
