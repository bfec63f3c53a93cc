"""What `pip install mmtt` gives, without any extra, and without a checkout."""

from __future__ import annotations

import os
import re
import zipfile
from importlib.metadata import Distribution, entry_points
from pathlib import Path

import pytest
from places import DATA, ROOT

_WALK = """
import click
from mmtt_agent.program import program
def walk(command, path):
    print(*path)
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            walk(command.get_command(None, name), [*path, name])
walk(program, [])
"""


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def in_wheel(path: Path) -> str:
    """Where the wheel has a file of the tree."""
    place = path.relative_to(ROOT).as_posix()
    return re.sub(r"^model/", "mmtt_model/", re.sub(r"^model/bundle/", "mmtt_bundle/", place))


def is_in_an_installation(path: Path) -> bool:
    place = path.relative_to(ROOT).as_posix()
    if "__pycache__" in place or place.startswith("model/lab/"):
        return False
    return place not in ("model/bundle/versions.tsv",)


def test_everything_that_runs_is_in_the_wheel_and_nothing_else(wheel):
    files = [path for part in ("mmtt_agent", "model") for path in (ROOT / part).rglob("*") if path.is_file()]
    expected = {in_wheel(path) for path in files if is_in_an_installation(path)}
    found = {name for name in names(wheel) if ".dist-info/" not in name}
    # A card beside a system is read in the checkout.
    missing = {name for name in expected - found if not re.search(r"(CARD\.md|\.png)$", name)}
    assert missing == set()
    assert found - expected == set()
    assert {"mmtt_bundle/model.onnx", "mmtt_bundle/bundle.yaml", "mmtt_bundle/CARD.md"} <= found
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names(wheel))


def test_nothing_heavy_comes_with_it(plain):
    done = plain.run("python", "-m", "pip", "list", "--format", "freeze")
    installed = {line.partition("==")[0].lower() for line in done.stdout.splitlines()}
    assert "mmtt" in installed
    assert not installed & {
        "torch",
        "onnx",
        "onnxscript",
        "lightgbm",
        "pyarrow",
        "matplotlib",
        "tensorboard",
        "aiohttp",
    }


def test_help_lists_everything_with_what_it_needs(plain):
    done = plain.run("mmtt", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    (site,) = plain.at.glob("lib/*/site-packages")
    declared = {entry.name for entry in Distribution.discover(name="mmtt", path=[str(site)]).__next__().entry_points}
    ours = {entry.name for entry in entry_points(group="mmtt.commands")}
    listed = dict(re.findall(r"^  (\w+) +(\S.*)$", done.stdout.partition("Commands:")[2], re.MULTILINE))
    assert set(listed) == declared - {"mmtt"} >= ours - {"mmtt"}
    said = " ".join(done.stdout.split())
    assert "(needs: pip install 'mmtt[train]')" in said and listed["lab"] == "(needs: a checkout of mmtt)"
    assert said.count("(needs:") == 3


def test_help_of_everything(plain):
    done = plain.run("python", "-c", _WALK)
    paths = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0 and ["dataset", "fetch"] in paths and ["bench", "zeek"] in paths, done.stderr
    for path in paths:
        done = plain.run("mmtt", *path, "--help")
        assert done.returncode == 0 and done.stdout.startswith(f"Usage: mmtt {' '.join(path)}".rstrip()), path
        assert done.stderr == "", path


def test_help_imports_nothing_heavy(plain):
    program = (
        "import sys\nfrom mmtt_agent.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'onnxruntime', 'torch', 'websockets', 'rich'} & set(sys.modules)))"
    )
    assert plain.run("python", "-c", program).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            ["lab", "run", "five-minutes", "-o", "out"],
            "the traffic lab is not part of an installation; run `./mmtt lab`",
        ),
        (["lab"], "the traffic lab is not part of an installation; run `./mmtt lab` in a checkout"),
        (["train", "small", "--data", ".", "-o", "out"], "not installed; type: pip install 'mmtt[train]'"),
        (["dataset", "name", "."], "pip install 'mmtt[ndpi]'"),
    ],
)
def test_what_is_not_there_is_one_line_and_leaves_nothing(plain, tmp_path, command, says):
    done = plain.run("mmtt", *command, cwd=tmp_path)
    assert done.returncode == 1 and says in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_capture_gets_its_verdicts(plain, tmp_path):
    done = plain.run("mmtt", "classify", DATA / "office.pcap", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("\tok\t") > 5, done.stderr


@pytest.mark.parametrize(("what", "has"), [("config", "url:"), ("unit", "[Service]"), ("dashboard", '"panels"')])
def test_the_agents_examples_come_with_it(plain, what, has):
    assert has in plain.run("mmtt", "agent", "--print", what).stdout


def test_a_user_without_a_home_sees_nothing_but_what_was_asked_for(plain, tmp_path):
    done = plain.run("mmtt", "classify", DATA / "office.pcap", env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})
    assert done.returncode == 0 and "/nonexistent" not in done.stderr and "elemetry" not in done.stderr
