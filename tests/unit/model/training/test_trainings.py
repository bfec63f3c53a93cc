"""Trainings side by side: what they make is what one after the other makes, and what fails says so."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")
pytest.importorskip("lightgbm", reason="LightGBM is not installed: pip install 'mmtt[train]'")

from synthetic import TINY, synthetic

from mmtt_model.config import Config, Training
from mmtt_model.network.architecture import Architecture
from mmtt_model.training.trainings import TrainingError, Trainings

TOLD = Config(architecture=TINY["architecture"], training=Training(epochs=2, windows=64, batch=32, teacher=0.5))


def test_side_by_side_makes_what_one_after_the_other_makes(tmp_path):
    made, architecture, found = synthetic(), Architecture(**TOLD.architecture), {}
    for processes in (1, 2):
        out = tmp_path / str(processes)
        out.mkdir()
        with Trainings(out, lambda _: None, processes) as trainings:
            begun = [
                trainings.begin(f"seed{seed}", dataclasses.replace(TOLD, seed=seed), architecture, made)
                for seed in (1, 2)
            ]
            size = trainings.start(len, made)
            found[processes] = [network().state_dict() for network in begun]
            assert size() == len(made)
            assert trainings.all_seconds() > trainings.seconds("seed1", made) > 0
        assert len(list(out.glob("teacher-*.npz"))) == 1, "one teacher serves both"
    for alone, together in zip(*found.values(), strict=True):
        assert all(torch.equal(alone[name], together[name]) for name in alone)
    assert not all(torch.equal(a, b) for a, b in zip(*(each.values() for each in found[1]), strict=True)), "two seeds"


@pytest.mark.parametrize("processes", [1, 2])
def test_what_fails_says_so_where_its_result_is_asked_for(tmp_path, processes):
    with Trainings(tmp_path, lambda _: None, processes) as trainings:
        wrong, right = trainings.start(int, "five"), trainings.start(int, "5")
        with pytest.raises(ValueError, match="five"):
            wrong()
        assert right() == 5


def test_a_process_that_is_killed_is_told_of_in_one_line(tmp_path):
    with Trainings(tmp_path, lambda _: None, 2) as trainings:
        killed = trainings.start(signal.raise_signal, signal.SIGKILL)
        with pytest.raises(TrainingError, match="killed"):
            killed()


def test_no_process_goes_on_for_one_that_was_killed(tmp_path):
    program = (
        "import os, pathlib, time; from mmtt_model.training.trainings import Trainings\n"
        "trainings = Trainings(pathlib.Path(), len, 2)\n"
        "helper, sleep = trainings.start(os.getpid), [trainings.start(time.sleep, 600) for _ in range(2)]\n"
        "print(helper(), flush=True); sleep[0]()"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        helper = next(int(line) for line in parent.stdout if line.strip().isdigit())
        os.kill(helper, 0)
        parent.kill()
    for _ in range(100):
        if not _runs(helper):
            return
        time.sleep(0.1)
    os.kill(helper, signal.SIGKILL)
    pytest.fail("it went on")


def _runs(process: int) -> bool:
    try:
        # What nobody waits for any more is a zombie, until init does.
        return open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
