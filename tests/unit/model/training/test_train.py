import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_agent import bundle
from mmtt_agent.classifier import Classifier
from mmtt_agent.series import MAX_WAIT_US, MIN_PACKETS, SeriesBatch
from mmtt_model import config, run
from mmtt_model.card import bars
from mmtt_model.cli.train import train as command
from mmtt_model.data import dataset
from mmtt_model.evaluation import evaluate
from mmtt_model.evaluation.breakdown import HALVES
from mmtt_model.evaluation.calibrate import calibrate, decisions
from mmtt_model.training import losses, teacher, train
from mmtt_model.training.augment import _other_mtu, augment


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
        "left out of training", "--false-positives 0.1%",
        "Applications that it does not know", "applications are `unknown` by that",
    ):  # fmt: skip
        assert words in card, words
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, data, tiny):
    settings = config.read(tiny)
    architecture = train.Architecture(**settings.architecture)
    made, said = synthetic(), []
    whole, _ = train.fit(settings, architecture, made, tmp_path / "whole.safetensors", said.append)

    def stop(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit(settings, architecture, made, tmp_path / "cut.safetensors", stop)
    said.clear()
    again, _ = train.fit(settings, architecture, made, tmp_path / "cut.safetensors", said.append)
    assert "going on after epoch 1" in said[0] and said[1].startswith("epoch 2/3")
    for a, b in zip(whole.parameters(), again.parameters()):
        assert torch.equal(a, b)


def test_a_damaged_checkpoint_is_begun_anew(tmp_path, tiny):
    settings, said = config.read(tiny), []
    (tmp_path / "c.safetensors").write_bytes(b"not a checkpoint")
    train.fit(
        settings, train.Architecture(**settings.architecture), synthetic(), tmp_path / "c.safetensors", said.append
    )
    assert "begun anew" in said[0] and said[1].startswith("epoch 1/3")


def test_a_window_without_a_label_takes_no_part_in_that_tasks_loss():
    made = synthetic()
    rows = np.arange(8)
    made.application[rows] = dataset.MISSING
    outputs = [torch.zeros(8, 2, requires_grad=True), torch.zeros(8, 2, requires_grad=True), torch.zeros(8, requires_grad=True)]  # fmt: skip
    losses.Objective(torch.nn.Identity(), made, rows, config.Training()).labelled(tuple(outputs), rows).backward()
    assert outputs[0].grad.abs().sum() > 0 and outputs[2].grad.abs().sum() > 0
    assert outputs[1].grad is None


def test_test_captures_are_never_looked_at_in_training(tmp_path, tiny):
    settings = config.read(tiny)
    architecture = train.Architecture(**settings.architecture)
    made, other = synthetic(), synthetic()
    test = other.rows("test")
    other.series.sizes[test] = 77
    other.service[test] = 1 - other.service[test]
    one, _ = train.fit(settings, architecture, made, tmp_path / "1.safetensors", lambda _: None)
    two, _ = train.fit(settings, architecture, other, tmp_path / "2.safetensors", lambda _: None)
    for a, b in zip(one.parameters(), two.parameters()):
        assert torch.equal(a, b)
    rows = made.rows("validation")
    decided = [
        calibrate(settings.decision, d, rows, train.infer(m, d.series[rows])) for d, m in ((made, one), (other, two))
    ]
    assert decided[0] == decided[1]


def test_no_window_is_taught_by_trees_that_knew_its_recording(tmp_path, monkeypatch):
    data, seen = synthetic(), []

    def trees(dataset, train, validation, rows, tasks):
        seen.append((set(dataset.recording[train]), set(dataset.recording[rows])))
        return {
            "service": np.ones((len(rows), 2)),
            "application": np.ones((len(rows), 2)),
            "malicious": np.ones(len(rows)),
        }

    monkeypatch.setattr(teacher.peers, "boosted_trees", trees)
    settings = config.Config()
    logits, _ = teacher.soft_labels(settings, data, tmp_path, lambda _: None)
    assert len(seen) == teacher.FOLDS and not any(known & taught for known, taught in seen)
    assert (logits["malicious"][data.rows("train")] == 1).all() and not logits["malicious"][data.rows("test")].any()
    again, _ = teacher.soft_labels(config.Config(seed=2), data, tmp_path, lambda _: None)
    assert len(seen) == teacher.FOLDS and (again["service"] == logits["service"]).all()


def test_a_network_that_teaches_beside_the_trees_knows_no_recording_that_it_teaches_either(tmp_path, monkeypatch):
    data, seen = synthetic(), []

    def trees(dataset, train, validation, rows, tasks):
        seen.append((set(dataset.recording[train]), set(dataset.recording[rows])))
        return {
            "service": np.zeros((len(rows), 2)),
            "application": np.zeros((len(rows), 2)),
            "malicious": np.zeros(len(rows)),
        }

    def fit(settings, build, dataset, checkpoint, say):
        assert set(dataset.recording[dataset.rows("train")]) == seen[-1][0]
        assert set(dataset.rows("validation")) == set(data.rows("validation")) and not len(dataset.rows("test"))
        assert build.width == 32 and not settings.training.teacher
        return None, 0.0

    def sure(model, series):
        answers = np.tile([50.0, -50.0], (len(series), 1))
        return {"service": answers, "application": answers, "malicious": answers[:, 0]}

    monkeypatch.setattr(teacher.peers, "boosted_trees", trees)
    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(train, "infer", sure)
    settings = config.Config(training=config.Training(teacher=0.5, teacher_network={"width": 32}))
    rows = data.rows("train")
    for wanted, told in ((0.75, settings), (0.5, config.Config(training=config.Training(teacher=0.5)))):
        logits, _ = teacher.soft_labels(told, data, tmp_path, lambda _: None)
        assert evaluate.softmax(logits["service"][rows])[:, 0] == pytest.approx(wanted, abs=1e-3)
        assert evaluate.sigmoid(logits["malicious"][rows]) == pytest.approx(wanted, abs=1e-3)
    assert len(seen) == 2 * teacher.FOLDS


def test_another_mtu_cuts_what_was_sent_into_other_packets():
    asked = [[200, *[-1448] * 6, -700, 90, -300], [50, -60, 70, -80]]
    batch = SeriesBatch.from_lists(asked * 200, [list(range(0, 100, 10)), [0, 1, 2, 3]] * 200)
    changed = _other_mtu(batch, np.ones(400, bool), np.random.default_rng(1))
    assert (changed.sizes[1::2] == batch.sizes[1::2]).all(), "nothing is full in these"
    for row in range(0, 400, 2):
        sizes = changed.sizes[row, : changed.lengths[row]].tolist()
        answer = sizes[1 : sizes.index(90)]
        assert sizes[0] == 200 and sizes[-2:] == [90, -300] and sum(answer) == -(6 * 1448 + 700)
        assert len(set(answer[:-1])) == 1 and 1180 <= -answer[0] <= 1460
        assert (np.diff(changed.times[row, : changed.lengths[row]]) >= 0).all()
    assert len({int(length) for length in changed.lengths[::2]}) > 1


def test_augmentation_keeps_what_a_window_is():
    batch = synthetic().series
    changed = augment(batch, 1.0, np.random.default_rng(1))
    filled = np.arange(32) < changed.lengths[:, None]
    assert (changed.lengths >= MIN_PACKETS).all()
    assert (changed.lengths <= batch.lengths).all()
    assert ((changed.sizes != 0) == filled).all() and (changed.times[~filled] == 0).all()
    assert (changed.times[:, 0] == 0).all() and changed.times.max() <= MAX_WAIT_US
    steps = np.diff(changed.times, axis=1)
    assert (steps[filled[:, 1:]] >= 0).all()
    assert (np.sign(changed.sizes[:, 0]) == np.sign(batch.sizes[:, 0])).all()
    assert (changed.times != batch.times).any() and (changed.lengths != batch.lengths).any()
    same = augment(batch, 0.0, np.random.default_rng(1))
    np.testing.assert_array_equal(same.sizes, batch.sizes)
    np.testing.assert_array_equal(same.times, batch.times)


@pytest.mark.parametrize(
    "text, message",
    [
        ("colour: blue", "unknown key 'colour'; known: name, seed"),
        ("training: {epoch: 3}", "training: unknown key 'epoch'"),
        ("training: {epochs: many}", "training: epochs must be like 40, not 'many'"),
        ("training: {epochs: 0}", "training: epochs must be at least 1"),
        (
            "training: {sampling: all}",
            "training: sampling must be one of captures, plain, balanced, over, down; not 'all'",
        ),
        ("training: {class_weights: yes}", "training: class_weights must be like 'root', not True"),
        ("training: {task_weights: learnt}", "training: task_weights must be one of fixed, learned; not 'learnt'"),
        ("training: {malicious: -1}", "training: malicious must be 0 or more"),
        ("training: 7", "training: must hold keys and values"),
        ("data: {shares: [1, 2]}", "data: shares must be 3 numbers"),
        ("evaluation: {source_folds: 1}", "evaluation: source_folds must be 0, or at least 2"),
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


def test_missing_files_give_one_line(tmp_path, tiny):
    for args, words in (
        ([str(tmp_path / "none.yaml"), "--data", str(tmp_path)], "none.yaml: No such file"),
        ([str(tiny), "--data", str(tmp_path / "none")], "captures.tsv: No such file"),
    ):
        result = CliRunner().invoke(command, [*args, "-o", str(tmp_path / "out")])
        assert result.exit_code == 1 and len(result.output.splitlines()) == 1 and words in result.output


@pytest.mark.parametrize("name", ["small", "literature"])
def test_shipped_configurations_can_be_read(name):
    read = config.read(config.shipped(Path(name)))
    train.Architecture(**read.architecture)


def test_scores_are_what_their_definitions_say():
    labels, predicted = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    assert evaluate.f1_by_class(labels, predicted) == {0: 0.5, 1: 0.8, 2: 0.0}
    assert evaluate.macro_f1(labels, predicted) == pytest.approx(1.3 / 3)
    truth, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.4, 0.1])
    assert evaluate.auroc(truth, scores) == pytest.approx(3.5 / 4)
    assert evaluate.recall_at(truth, scores, 0.01) == 0.5
    assert np.isnan(evaluate.auroc(np.array([1]), np.array([0.5])))
    assert evaluate.calibration_error(np.array([1, 0, 1, 0]), np.full(4, 0.9)) == pytest.approx(0.4)


def test_several_seeds_have_an_interval_and_one_has_none():
    mean, half = evaluate.mean_and_interval([0.4, 0.5, 0.6])
    assert mean == pytest.approx(0.5) and half == pytest.approx(4.303 * 0.1 / 3**0.5)
    assert np.isnan(evaluate.mean_and_interval([0.4])[1])


def test_the_surest_answers_come_first():
    made = synthetic()
    rows = np.arange(4)
    answers = np.array([*made.service[:3], 1 - made.service[3]])
    logits = np.array([[1], [3], [2], [0.5]]) * np.eye(2)[answers]
    made.application[rows] = dataset.MISSING
    shares = evaluate.coverage(made, rows, {"service": logits, "application": logits})
    assert shares["service"] == {25: 1, 50: 1, 75: 1, 100: 0.75}
    assert np.isnan(shares["application"][100])


def test_a_threshold_never_flags_more_than_allowed():
    rng = np.random.default_rng(2)
    for _ in range(20):
        labels, scores = rng.integers(0, 2, 300), rng.random(300).round(2)
        threshold = evaluate.threshold_at(labels, scores, 0.05)
        assert (scores[labels == 0] >= threshold).mean() <= 0.05


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 3))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    assert evaluate.fit_temperature(labels, logits * 3) == pytest.approx(3, rel=0.15)


def test_each_threshold_for_malicious_flags_at_most_its_share_of_the_harmless():
    made, rows = synthetic(250), np.arange(2000)
    rng = np.random.default_rng(5)
    logits = {"service": np.eye(2)[made.service], "application": np.eye(2)[made.service],
              "malicious": made.malicious * 2 + rng.normal(size=2000)}  # fmt: skip
    settings = config.Decision(false_positives=0.02)
    calibration = calibrate(settings, made, rows, logits)
    assert list(calibration.false_positives) == ["2%", "1%", "0.1%"]
    decided = decisions(made, rows, logits, calibration)["malicious"]
    for share, flags in decided["at"].items():
        allowed = float(share[:-1]) / 100
        assert allowed - 0.002 <= flags["false_positives"] <= allowed
    assert (
        decided["at"]["2%"]["recall"]
        == decided["recall"]
        > decided["at"]["1%"]["recall"]
        > decided["at"]["0.1%"]["recall"]
    )


def test_by_energy_or_probability_answers_are_as_right_as_asked_for():
    made, rows = synthetic(250), np.arange(2000)
    rng = np.random.default_rng(6)
    # Half of the windows say little.
    clear = np.where(rng.random(2000) < 0.5, 5.0, 0.5)[:, None]
    noisy = np.eye(2)[made.service] * clear + rng.normal(size=(2000, 2))
    made.application[:] = made.service
    logits = {"service": noisy, "application": noisy, "malicious": noisy[:, 1]}
    for by_energy in ((), ("application",)):
        calibration = calibrate(config.Decision(accuracy=0.95), made, rows, logits, by_energy)
        assert tuple(calibration.energies) == by_energy
        decided = decisions(made, rows, logits, calibration)
        assert decided["application"]["accuracy"] == pytest.approx(0.95, abs=0.01)
        assert 0.3 < decided["application"]["answered"] < 1


def test_abstention_reaches_the_accuracy_asked_for():
    confidence = np.linspace(0, 1, 1000)
    right = np.random.default_rng(4).random(1000) < confidence
    threshold = evaluate.abstention_threshold(right, confidence, 0.8)
    assert right[confidence >= threshold].mean() >= 0.8 and 0.3 < (confidence >= threshold).mean() < 0.7


def test_the_card_shows_what_scores_hang_on(tmp_path, data, tiny, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'mmtt[lab]'")
    long = synthetic()
    rng = np.random.default_rng(1)
    # Full windows, whose first eight packets say nothing.
    sizes = np.where(np.arange(32) < 8, 500, np.where(long.service[:, None], 1200, -50)) + rng.integers(
        0, 30, (len(long), 32)
    )
    long.series = SeriesBatch(
        sizes.astype(np.int32), np.cumsum(np.ones((len(long), 32), np.int32), 1), np.full(len(long), 32, np.int32)
    )
    monkeypatch.setattr(run, "load_or_build", lambda *_: long)
    out = tmp_path / "out"
    result = CliRunner().invoke(command, [str(tiny), "--data", str(data), "-o", str(out), "--quick"])
    assert result.exit_code == 0, result.output
    card = (out / "CARD.md").read_text()
    rows = {
        row.split("|")[1].strip(): row.split("|")[2].strip()
        for row in card.splitlines()
        if re.match(r"\| \d+ \| [\d.]+", row)
    }
    assert set(rows) == {"4", "6", "8", "12", "16", "24", "32"}
    assert float(rows["4"]) < 0.7 < 0.9 < float(rows["32"])
    assert "| packets 17 to 32 of these |" in card and "| later windows |" in card
    for picture in ("packets", "reliability", "confusion"):
        assert (out / "card" / f"{picture}.png").stat().st_size > 1000 and f"card/{picture}.png" in card
    assert "--quick" in card and "mean of" not in card
    assert re.search(r"repository0 \(\d+; MIT\)", card)


def test_quick_and_the_other_networks_exclude_each_other(tmp_path, data, tiny):
    result = CliRunner().invoke(
        command, [str(tiny), "--data", str(data), "-o", str(tmp_path / "out"), "--quick", "--networks"]
    )
    assert result.exit_code == 2 and "use one" in result.output and not (tmp_path / "out").exists()


def test_the_card_says_what_is_reached_and_what_is_missed():
    def run_of(f1, recall):
        classes = {"web": {"f1": f1, "captures": 9}, "chat": {"f1": 0.0, "captures": 4}}
        return {
            "service": {"by_class": classes},
            "application": {"windows": 0},
            "malicious": {"recall_at_1_percent": recall},
        }

    figures = {
        "seeds": [run_of(0.6, 0.5), run_of(0.8, 0.5)],
        "peers": {
            "trees": [run_of(0.65, 0.6)],
            "nearest": [run_of(0.5, math.nan)],
            "m, a model for each task": [run_of(0.8, 0.5)],
        },
        "about peers": {"time": 0.34},
        "mid-flow": [{HALVES[0]: run_of(0.7, 0.5), HALVES[1]: run_of(0.69, 0.4)}],
    }
    table = "\n".join(bars.bars("m", "m", figures))
    assert "| service F1 2 points ahead of the best other's | 0.700 | 0.650 (trees) | met |" in table
    assert "| recall at 1 % FP 2 points ahead of the best other's | 0.500 | 0.600 (trees) | missed by 0.120 |" in table
    assert "| service F1 at most half a point behind a model of its own | 0.700 | 0.800 | missed by 0.095 |" in table
    assert "| time of one model, of that of three | 34 % | 40 % | met |" in table
    assert (
        "| recall at 1 % FP from the middle at most 3 points behind that from the start | 0.400 | 0.500 | missed by 0.070 |"
        in table
    )
    assert "application" not in table
    # Halves that were not pretrained are held against ours that was not.
    named = {"m0": [run_of(0.75, 0.5)], "m0, a model for each task": [run_of(0.8, 0.5)]}
    table = "\n".join(bars.bars("m", "m0", figures | {"peers": named}))
    assert "| service F1 at most half a point behind a model of its own | 0.750 | 0.800 | missed by 0.045 |" in table
