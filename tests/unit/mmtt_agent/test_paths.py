"""Paths on the command line, of every command."""

from __future__ import annotations

import importlib.util
import os

import pytest
from click.testing import CliRunner
from places import DATA

from mmtt_agent.program import program

COMMANDS = [
    ["classify", "-o", "", DATA / "lab.pcap"],
    ["classify", "--bundle", "", DATA / "lab.pcap"],
    ["agent", "-c", ""],
    ["agent", "--bundle", ""],
    ["bench", "agent", "--bundle", ""],
    ["bench", "zeek", ""],
    ["bench", "zeek", "--zeek", ""],
    ["bench", "zeek", "--keep", ""],
    ["status", "-c", ""],
    ["top", "-c", ""],
    ["reload", "-c", ""],
    ["doctor", "-c", ""],
    ["doctor", "--zeek", ""],
    ["doctor", "--scripts", ""],
    ["dataset", "build", "", "-o", "x"],
    ["dataset", "build", "x", "-o", ""],
    ["dataset", "fetch", "", "-o", "x"],
    ["dataset", "fetch", "x", "-o", ""],
    ["dataset", "name", ""],
    ["train", "", "--data", "x", "-o", "x"],
    ["train", "small", "--data", "", "-o", "x"],
    ["train", "small", "--data", "x", "-o", ""],
    ["train", "small", "--data", "x", "-o", "x", "--lab", ""],
    ["train", "small", "--data", "x", "-o", "x", "--tensorboard", ""],
]
#: Of a checkout alone.
LAB_COMMANDS = [
    ["lab", "run", "", "-o", "x"],
    ["lab", "run", "standard", "-o", ""],
    ["lab", "report", ""],
    ["lab", "effect", "x", "--data", "", "-o", "x"],
    ["lab", "effect", "x", "--data", "x", "-o", ""],
]


if importlib.util.find_spec("mmtt_model.lab"):
    COMMANDS += LAB_COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(repr, map(os.fspath, command))))
def test_an_empty_path_is_not_taken_for_the_directory_here(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(program, [*map(str, command)])
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith("the path is empty; is a variable not set?")
    assert os.listdir(tmp_path) == []
