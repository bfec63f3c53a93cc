"""mmtt study: tables of what a run's second model is worth."""

import json

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from made_pairs import KINDS, TEMPERATURES, made
from synthetic import TINY

from mmtt_model import run
from mmtt_model.cli.study import study as command
from mmtt_model.incidents.study import Study, study


@pytest.fixture(scope="module")
def found():
    return study(*made(), TEMPERATURES, KINDS, np.linspace(-5, 1, 99), lambda line: None)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Runs the command on what was found."""

    def ask(found, *options):
        monkeypatch.setattr(run, "incidents", lambda *_: found)
        config = tmp_path / "tiny.yaml"
        config.write_text(yaml.safe_dump(TINY))
        arguments = ["incidents", str(tmp_path), "--data", str(tmp_path), "--config", str(config)]
        return CliRunner().invoke(command, [*arguments, *options])

    return ask


def test_a_pipe_gets_tables_of_tabs(asked, found):
    result = asked(found)
    assert result.exit_code == 0, result.output
    scores, thresholds = result.output.strip().split("\n\n")
    rows = [line.split("\t") for line in scores.splitlines()]
    assert {len(row) for row in rows} == {10} and rows[0][5] == "AUROC"
    assert {"pairs", "pairs, number of connections", "pairs, regularity, as RITA's"} <= {row[1] for row in rows}
    assert {row[0] for row in rows[1:]} == {"cross-validated", "test"}
    assert thresholds.count("(default)") == 2


def test_by_site_each_site_has_a_row(asked, found):
    rows = [line.split("\t") for line in asked(found, "--by-site").output.splitlines()]
    assert rows[0] == ["sites", "site", "malicious", "found", "harmless", "flagged"] and len(rows) == 25


def test_on_a_terminal_columns_are_under_each_other(asked, found):
    lines = asked(found, "--by-site", "--format", "table").output.splitlines()
    assert len({line.index("site", 5) if not number else 0 for number, line in enumerate(lines)}) <= 2
    assert all("\t" not in line for line in lines)


def test_programs_get_everything(asked, found):
    assert json.loads(asked(found, "--format", "json").output)["share"] == found.section["share"]


def test_too_little_data_and_no_run_are_one_line(asked, found, tmp_path, monkeypatch):
    result = asked(Study({}, {}))
    assert result.exit_code == 1 and "too few pairs" in result.output
    monkeypatch.undo()
    result = CliRunner().invoke(command, ["incidents", str(tmp_path / "none"), "--data", str(tmp_path)])
    assert result.exit_code == 1 and "no finished run" in result.output and len(result.output.splitlines()) == 1
