import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from synthetic import synthetic

from mmtt_model import config
from mmtt_model.data import dataset
from mmtt_model.evaluation.calibrate import calibrate
from mmtt_model.network.architecture import TASKS
from mmtt_model.network.infer import infer
from mmtt_model.training import losses, train

pytestmark = pytest.mark.usefixtures("one_thread")


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
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
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
    outputs = [torch.zeros(shape, requires_grad=True) for shape in ((8, 2), (8, 2), (8,), (8, 2))]
    _objective(made, outputs)(made.series[rows], made.timed[rows], rows).backward()
    assert outputs[0].grad.abs().sum() > 0 and outputs[2].grad.abs().sum() > 0
    assert outputs[1].grad is None
    harmless = made.malicious[rows] == 0
    assert harmless.all() and outputs[3].grad is None, "what is harmless is of no kind"


def test_a_window_teaches_as_much_as_it_counts():
    made, rows = synthetic(), np.arange(8)
    counts = {task: np.ones(len(made), np.float32) for task in TASKS}
    counts["service"][2], counts["service"][3] = 0, 5
    outputs = [torch.zeros(shape, requires_grad=True) for shape in ((8, 2), (8, 2), (8,), (8, 2))]
    _objective(made, outputs, counts)(made.series[rows], made.timed[rows], rows).backward()
    each = outputs[0].grad.abs().sum(1)
    assert each[2] == 0 and each[3] == pytest.approx(5 * each[1].item()) and each[1] == each[4]


def test_a_task_without_a_weight_is_not_learnt():
    made, rows = synthetic(), np.arange(8)
    outputs = [torch.zeros(shape, requires_grad=True) for shape in ((8, 2), (8, 2), (8,), (8, 2))]
    settings = config.Training(service=0.0)
    _objective(made, outputs, settings=settings)(made.series[rows], made.timed[rows], rows).backward()
    assert outputs[0].grad is None and outputs[2].grad.abs().sum() > 0


def _objective(made, outputs, counts=None, settings=None):
    """The loss of a network that gives these answers."""

    class Said(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))

        def inputs(self, series, timed):
            return ()

        def forward(self):
            return tuple(outputs)

    counts = counts or {task: np.ones(len(made), np.float32) for task in TASKS}
    return losses.Objective(Said(), made, counts, settings or config.Training())


def test_test_captures_are_never_looked_at_in_training(tmp_path, tiny):
    settings = config.read(tiny)
    architecture = train.Architecture(**settings.architecture)
    made, other = synthetic(), synthetic()
    test = other.rows("test")
    other.series.sizes[test] = 77
    other.service[test] = 1 - other.service[test]
    one, _ = train.fit(settings, architecture, made, tmp_path / "1.safetensors", lambda _: None)
    two, _ = train.fit(settings, architecture, other, tmp_path / "2.safetensors", lambda _: None)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    rows = made.rows("validation")
    decided = [calibrate(settings.decision, d, rows, infer(m, d.series[rows])) for d, m in ((made, one), (other, two))]
    assert decided[0] == decided[1]
