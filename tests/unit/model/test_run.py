import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_agent import bundle
from mmtt_agent.classifier import Classifier
from mmtt_model.cli.train import train as command

pytestmark = pytest.mark.usefixtures("one_thread")


def test_training_makes_a_bundle_that_tells_the_classes_apart(tmp_path, data, tiny):
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(tiny), "--data", str(data), "-o", str(out)])
    assert result.exit_code == 0, result.output
    loaded = bundle.load(out)
    assert (loaded.name, loaded.services) == ("tiny", ("chat", "streaming"))
    verdicts = Classifier(loaded).classify(synthetic().series)
    best = np.array([{"chat": 0, "streaming": 1}.get(service, -1) for service in verdicts.service])
    answered = best >= 0
    assert answered.mean() > 0.5 and (best == synthetic().service)[answered].mean() > 0.9
    thresholds = loaded.false_positives
    assert list(thresholds) == ["1%", "0.1%"] and thresholds["1%"] <= thresholds["0.1%"]
    assert loaded.thresholds["malicious"] == thresholds["1%"]
    card = (out / "CARD.md").read_text()
    for words in (
        "mmtt train tiny.yaml", "nearest neighbours", "recall at 1 %", "mean of 2 seeds", "Rare (2)", "gaming (1)",
        "On networks that it has never seen", "Encrypted flows:", "95 % of it", "--false-positives 0.1%",
        "kind of what is malicious", "answers of models for sites that they had not seen",
        "Applications that it does not know", "applications are `unknown` by that",
    ):  # fmt: skip
        assert words in card, words
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_missing_files_give_one_line(tmp_path, tiny):
    for args, words in (
        ([str(tmp_path / "none.yaml"), "--data", str(tmp_path)], "none.yaml: No such file"),
        ([str(tiny), "--data", str(tmp_path / "none")], "captures.tsv: No such file"),
    ):
        result = CliRunner().invoke(command, [*args, "-o", str(tmp_path / "out")])
        assert result.exit_code == 1 and len(result.output.splitlines()) == 1 and words in result.output


def test_quick_and_the_other_networks_exclude_each_other(tmp_path, data, tiny):
    result = CliRunner().invoke(
        command, [str(tiny), "--data", str(data), "-o", str(tmp_path / "out"), "--quick", "--networks"]
    )
    assert result.exit_code == 2 and "use one" in result.output and not (tmp_path / "out").exists()
