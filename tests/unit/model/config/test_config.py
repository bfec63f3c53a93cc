import re
from pathlib import Path

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")


from mmtt_model import config
from mmtt_model.cli.train import train as command
from mmtt_model.training import train


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: blue", "unknown key 'colour'; known: name, seed"),
        ("training: {epoch: 3}", "training: unknown key 'epoch'"),
        ("training: {epochs: many}", "training: epochs must be like 10, not 'many'"),
        ("training: {epochs: 0}", "training: epochs must be at least 1"),
        ("training: {windows: 0}", "training: windows must be at least 1"),
        ("training: {no_gaps: 1.5}", "training: no_gaps must be from 0 to 1"),
        ("training: {patience: 5}", "training: unknown key 'patience'"),
        ("training: {malicious: -1}", "training: malicious must be 0 or more"),
        ("training: 7", "training: must hold keys and values"),
        ("data: {shares: [1, 2]}", "data: shares must be 3 numbers"),
        ("training: {malicious_kind: -1}", "training: malicious_kind must be 0 or more"),
        ("evaluation: {site_folds: 1}", "evaluation: site_folds must be at least 2"),
        ("evaluation: {class_folds: 1}", "evaluation: class_folds must be 0, or at least 2"),
        ("architecture: {packets_per_word: 3}", "architecture: packets_per_word must divide 8"),
        ("decision: {accuracy: 2}", "decision: accuracy must be between 0 and 1"),
        ("architecture: {width: 65}", "architecture: width 65 must be a multiple of heads"),
        ("architecture: {depth: 3}", "architecture: .*depth"),
        ("training: {teacher: 0.5, teacher_network: {depth: 3}}", "training: teacher_network: .*depth"),
        ("training: {teacher_network: {width: 128}}", "training: teacher_network teaches nothing where teacher is 0"),
        ("training: {teacher_network: large}", "training: teacher_network must be like {}, not 'large'"),
        ("name: [", "not YAML"),
        ("- 1", "must hold keys and values"),
    ],
)
def test_a_wrong_configuration_gives_one_line(tmp_path, data, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    result = CliRunner().invoke(command, [str(path), "--data", str(data), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1 and len(result.output.splitlines()) == 1
    assert re.search(message, result.output), result.output


@pytest.mark.parametrize("name", ["small", "literature"])
def test_shipped_configurations_can_be_read(name):
    read = config.read(config.shipped(Path(name)))
    train.Architecture(**read.architecture)
