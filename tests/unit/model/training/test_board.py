"""`mmtt train --tensorboard`: each epoch's figures once, also when training was interrupted."""

import importlib.util

import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model import config
from mmtt_model.cli.train import train as command
from mmtt_model.training import checkpoint, train

pytestmark = pytest.mark.usefixtures("one_thread")


def steps(directory) -> dict[str, list[int]]:
    """Of each figure the epochs that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory)).Reload()
    return {tag: [each.step for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_epoch_is_shown_once_also_after_an_interruption(tmp_path, tiny, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'mmtt[tensorboard]'")

    def save(path, state):
        if state["epoch"] == 3:
            raise KeyboardInterrupt
        checkpoint.save(path, state)

    told, board = config.read(tiny), tmp_path / "board"
    build = train.Architecture(**told.architecture)
    with monkeypatch.context() as patch:
        patch.setattr(train, "save", save)
        with pytest.raises(KeyboardInterrupt):
            train.fit(told, build, synthetic(), tmp_path / "c.safetensors", lambda _: None, board)
    train.fit(told, build, synthetic(), tmp_path / "c.safetensors", lambda _: None, board)
    shown = steps(board)
    for figure in (
        "training/loss", "training/learning rate", "validation/service/macro_f1",
        "validation/application/accuracy", "validation/malicious/auroc",
    ):  # fmt: skip
        assert shown[figure] == [1, 2, 3], figure


def test_the_command_writes_a_directory_for_each_seed(tmp_path, data, tiny):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install 'mmtt[tensorboard]'")
    args = [
        str(tiny),
        "--data",
        str(data),
        "-o",
        str(tmp_path / "out"),
        "--quick",
        "--tensorboard",
        str(tmp_path / "board"),
    ]
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "board").iterdir()] == ["seed1"]
    assert steps(tmp_path / "board" / "seed1")["training/loss"] == [1, 2, 3]


def test_without_tensorboard_one_line_says_what_to_type(tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else there(name))
    args = ["small", "--data", str(tmp_path), "-o", str(tmp_path / "out"), "--tensorboard", str(tmp_path / "board")]
    result = CliRunner().invoke(command, args)
    assert result.exit_code == 1 and len(result.output.splitlines()) == 1 and not (tmp_path / "out").exists()
    assert "pip install 'mmtt[tensorboard]'" in result.output
