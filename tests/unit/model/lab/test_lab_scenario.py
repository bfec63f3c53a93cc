"""Scenarios: mistakes are found with their line, plans follow from the seed alone, and shipped ones are whole."""

from __future__ import annotations

from importlib import resources

import pytest
import yaml
from click.testing import CliRunner

from mmtt_model.cli.lab import lab
from mmtt_model.lab import LabError, programs
from mmtt_model.lab.activities import ACTIVITIES
from mmtt_model.lab.scenario import parse, plan

GOOD = """length: 30 s
seed: 4
captures: 3
hosts:
  laptop: {link: [cable, dsl]}
  server: {link: datacentre}
activities:
  - {do: web, from: laptop, to: server, for: 10 s, repeat: 5}
  - {do: beacon_https, from: laptop, to: server, at: 5 s, for: 20 s}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("length: 30 s", "length: 30", "line 1: length must be text"),
        ("length: 30 s", "length: soon", "line 1: length must be a time such as"),
        ("seed: 4", "sed: 4", "line 2: a scenario has no key 'sed'"),
        ("seed: 4", "seed: four", "line 2: seed must be a whole number"),
        ("captures: 3", "captures: 0", "line 3: captures must be from 1"),
        ("[cable, dsl]", "[cable, smoke]", "line 5: no link 'smoke'"),
        ("do: web", "do: wbe", "line 8: no activity 'wbe'"),
        ("do: web,", "do: web, with: nginx/netscape,", "line 8: no implementation of web 'nginx/netscape'"),
        ("repeat: 5", "repeat: 0", "line 8: repeat must be from 1"),
        ("for: 10 s", "for: 40 s", "line 8: web ends after the capture's length"),
        ("to: server, at", "to: laptop, at", "line 9: a host can't be both"),
        ("seed: 4", "seed: 4\nseed: 5", "line 3: seed is given twice"),
        ("seed: 4", "seed: [", "line 4: not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(old, new, message):
    assert old in GOOD
    with pytest.raises(LabError) as error:
        parse(GOOD.replace(old, new, 1), "test")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_one_seed_gives_one_plan_and_another_gives_another():
    scenario = parse(GOOD, "test")
    assert plan(scenario, 1) == plan(scenario, 1)
    assert plan(scenario, 1).steps != plan(scenario, 2).steps
    assert plan(scenario, 1).steps != plan(parse(GOOD.replace("seed: 4", "seed: 5"), "test"), 1).steps


def test_steps_fit_into_the_capture_and_have_addresses_of_their_own():
    made = plan(parse(GOOD, "test"), 0)
    assert len(made.steps) == 6
    assert all(step.at >= 0 and step.at + step.seconds <= made.length for step in made.steps)
    assert made.steps[5].at == 5
    addresses = [address for host in made.addresses().values() for address in host]
    assert len(addresses) == len(set(addresses)) == 8


def test_every_implementation_gets_its_turn():
    scenario = parse(GOOD.replace("captures: 3", "captures: 12"), "test")
    used = {
        f"{step.server}/{step.client}"
        for number in range(12)
        for step in plan(scenario, number).steps
        if step.name == "web"
    }
    assert used == set(ACTIVITIES["web"].implementations)


def test_activities_and_tunnels_take_turns():
    text = GOOD.replace("do: web,", "do: [web, sftp], through: [ssh, ssh_dropbear],").replace(
        "captures: 3", "captures: 9"
    )
    steps = [step for number in range(9) for step in plan(parse(text, "test"), number).steps if step.through]
    assert {(step.name, step.through) for step in steps} == {
        (name, tunnel) for name in ("web", "sftp") for tunnel in ("ssh", "ssh_dropbear")
    }
    assert {step.server for step in steps if step.name == "web"} > {"nginx", "lighttpd"}


def test_what_a_port_forwarder_cannot_carry_is_refused():
    with pytest.raises(LabError, match="line 8: call can't be led through ssh"):
        parse(GOOD.replace("do: web,", "do: call, through: ssh,"), "test")


def test_labels_are_the_taxonomys():
    taxonomy = yaml.safe_load(resources.files("mmtt_model.data").joinpath("taxonomy.yaml").read_text())
    for activity in ACTIVITIES.values():
        assert activity.service in taxonomy["services"]
        assert not activity.inner_service or activity.inner_service in taxonomy["services"]


@pytest.mark.parametrize("name", ["five-minutes", "standard"])
def test_shipped_scenarios_use_every_activity(name):
    text = resources.files("mmtt_model.lab").joinpath("scenarios", f"{name}.yaml").read_text()
    scenario = parse(text, name)
    assert {name for entry in scenario.entries for name in entry.names} == set(ACTIVITIES)
    assert len({link for links in scenario.hosts.values() for link in links}) >= 6


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("do: web", "do: wbe"))
    result = CliRunner().invoke(lab, ["run", str(file), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert f"{file}: line 8: no activity 'wbe'" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_report_of_nothing_says_what_to_run(tmp_path):
    result = CliRunner().invoke(lab, ["report", str(tmp_path)])
    assert result.exit_code == 1 and "mmtt lab run" in result.output


def test_missing_programs_are_named_with_one_command(monkeypatch):
    monkeypatch.setattr(programs, "_there", lambda what: what != "nginx" and what != "mosquitto")
    assert programs.missing({"nginx", "mosquitto", "python", "curl"}) == (
        "not on this machine: mosquitto, nginx; type: apt-get install mosquitto mosquitto-clients nginx-light"
    )
    assert programs.missing({"python", "curl"}) == ""


def test_every_program_is_in_the_table_once_or_is_the_labs_own():
    text = resources.files("mmtt_model.lab").joinpath("programs.yaml").read_text()
    names = [line.split(":")[0] for line in text.splitlines() if line[:1].isalnum()]
    assert names == sorted(set(names))
    assert all(set(entry) <= {"needs", "install", "version"} for entry in programs.programs().values())
