"""The list of commands holds whatever becomes of one of them: what can't be loaded says why, the others run."""

import re
import sys
from importlib.metadata import entry_points

import click
import pytest
from click.testing import CliRunner

from mmtt_agent import commands
from mmtt_agent.program import program

_BROKEN = {
    "raising": ("raise ValueError('not\\n  today')", "can't be loaded (ValueError: not today)"),
    "leaving": ("import sys; sys.exit(3)", "can't be loaded (SystemExit: 3)"),
    "garbled": ("def (", "can't be loaded (SyntaxError: "),
    "lacking": ("import no_such_module_anywhere", "needs no_such_module_anywhere, which is not installed"),
    "nameless": ("", "can't be loaded (AttributeError: "),
    "wrong": ("command = 5", "is no command but a int"),
}


@pytest.fixture
def other_packages(tmp_path, monkeypatch):
    """A package of somebody else with broken commands, one that works, and one named like one of ours."""
    made = {name: text for name, (text, _) in _BROKEN.items()} | {
        "good": "import click\n@click.command()\ndef command():\n    'A good one.'\n    click.echo('good here')",
        "classify": "import click\n@click.command()\ndef command():\n    'Not ours.'",
    }
    lines = ["[mmtt.commands]"]
    for name, text in made.items():
        (tmp_path / f"theirs_{name}.py").write_text(text)
        lines.append(f"{name} = theirs_{name}:command")
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("theirs_")]:
        del sys.modules[name]


def listed(output: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\w+) +(\S.*)$", output.partition("Commands:")[2], re.MULTILINE))


def test_a_broken_package_does_not_take_the_others(other_packages):
    done = CliRunner().invoke(program, ["--help"])
    assert done.exit_code == 0
    found = listed(done.output)
    assert found["good"] == "A good one." and found["agent"] == "Serve verdicts to Zeek."
    assert {found[name] for name in _BROKEN} == {"(needs: pip install --upgrade theirs)"}
    assert CliRunner().invoke(program, ["good"]).output == "good here\n"


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_command_says_whose_it_is_and_why(other_packages, name):
    done = CliRunner().invoke(program, [name, "--option", "value"])
    assert done.exit_code == 1 and len(done.output.splitlines()) == 1
    assert _BROKEN[name][1] in done.output and done.output.endswith("; type: pip install --upgrade theirs\n")
    done = CliRunner().invoke(program, [name, "--help"])
    assert done.exit_code == 0 and "Not available here" in done.output


def test_our_own_commands_come_before_others_of_the_same_name(other_packages):
    assert "Not ours" not in CliRunner().invoke(program, ["classify", "--help"]).output


def test_what_is_no_command_is_a_usage_error():
    assert CliRunner().invoke(program, ["no-such"]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "module", "shown"),
    [
        ("train", "torch", "(needs: pip install 'mmtt[train]')"),
        ("lab", "mmtt_model.lab", "(needs: a checkout of mmtt)"),
    ],
)
def test_what_an_installation_lacks_is_in_the_list(monkeypatch, name, module, shown):
    if not entry_points(group="mmtt.commands", name=name):
        pytest.skip(f"no `mmtt {name}` here")
    there = commands._is_there
    monkeypatch.setattr(commands, "_is_there", lambda asked: asked != module and there(asked))
    done = CliRunner().invoke(program, ["--help"])
    assert done.exit_code == 0 and shown in " ".join(done.output.split())
    assert isinstance(program.get_command(click.Context(program), name), click.Command)
    assert CliRunner().invoke(program, [name, "--help"]).exit_code == 0


def test_the_lab_in_an_installation_says_where_it_is(monkeypatch):
    monkeypatch.setattr(commands, "_is_there", lambda _: False)
    done = CliRunner().invoke(program, ["lab", "run", "x", "-o", "y"])
    assert done.exit_code == 1
    assert done.output == (
        "Error: the traffic lab is not part of an installation; run `./mmtt lab` in a checkout, after "
        "`./bootstrap lab`\n"
    )
