"""`mmtt doctor` on a real Zeek: is the package there, loaded, and of this agent's protocol?"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmtt_agent.watch.cli import doctor
from mmtt_agent.zeek import find as find_zeek

ZEEK = find_zeek()
pytestmark = pytest.mark.skipif(ZEEK is None, reason="no Zeek")
PACKAGE = Path(__file__).parents[2] / "zeek-scripts"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory on Zeek's path with a local.zeek of its own; nothing of the machine's own is asked."""
    done = subprocess.run([ZEEK.parent / "zeek-config", "--zeekpath"], capture_output=True, text=True, check=True)
    monkeypatch.setenv("ZEEKPATH", f"{tmp_path}:{done.stdout.strip()}")
    (tmp_path / "agent.yaml").write_text("url: ws://127.0.0.1:1/\nmetrics:\n  listen: off\n")
    return tmp_path


def lines(site: Path, what: str) -> str:
    done = CliRunner().invoke(doctor, ["-c", str(site / "agent.yaml"), "--zeek", str(ZEEK), "--scripts", "here"])
    return "".join(re.findall(rf"^\w+ +{what} .*\n(?: +type: .*\n)?", done.stdout, re.MULTILINE))


@pytest.mark.parametrize(
    ("local", "installed", "what", "says"),
    [
        ("@load ./mmtt", True, "package", "^ok .*here loads it; protocol 3"),
        ("@load ./mmtt", True, "backend", "^ok"),
        (
            "",
            True,
            "package",
            "^problem .*is installed, and here does not load it\n.*type: echo '@load packages'",
        ),
        ("", False, "package", "^problem .*not installed\n.*type: zkg install mmtt"),
        ("@load ./mmtt\nredef nonsense = 1;", True, "package", "^problem .*can't read here: .*nonsense"),
        (
            "module MMTT;\nexport { const protocol_version = 99; }\n",
            False,
            "package",
            "^problem .*another protocol",
        ),
    ],
)
def test_the_package(site, local, installed, what, says):
    if installed:
        os.symlink(PACKAGE, site / "mmtt")
    (site / "here.zeek").write_text(local)
    assert re.search(says, found := lines(site, what)), found


def test_the_running_sensor_may_have_the_port_of_its_metrics(site):
    os.symlink(PACKAGE, site / "mmtt")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (site / "here.zeek").write_text(
            '@load ./mmtt\nredef Telemetry::metrics_address = "127.0.0.1";\n'
            f"redef Telemetry::metrics_port = {port}/tcp;\n"
        )
        assert re.search("^ok .*here loads it", found := lines(site, "package")), found


def test_scripts_may_be_named_from_where_one_stands(site, monkeypatch):
    os.symlink(PACKAGE, site / "mmtt")
    (site / "sub").mkdir()
    (site / "sub" / "mine.zeek").write_text("@load mmtt\n")
    monkeypatch.chdir(site)
    done = CliRunner().invoke(doctor, ["-c", "agent.yaml", "--zeek", str(ZEEK), "--scripts", "./sub/mine.zeek"])
    assert re.search("^ok .*package .*mine.zeek loads it", done.stdout, re.MULTILINE), done.stdout
