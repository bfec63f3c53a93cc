"""Several processes that train one model together, as `torchrun` starts them."""

import os
import subprocess
import sys

import pytest
from places import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'mmtt[train]'")

from safetensors.torch import load_file

PROGRAM = ROOT / "tests" / "support" / "trained_together.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def trained(out, *how):
    """What was said of the epochs, without the seconds; and the weights."""
    done = subprocess.run([sys.executable, *how, PROGRAM, out], env=os.environ | {"OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    processes, *epochs = done.stdout.splitlines()
    return int(processes), [line.rpartition(";")[0] for line in epochs], load_file(out)


def test_two_processes_train_what_one_does(tmp_path):
    one, alone, weights = trained(tmp_path / "one.safetensors")
    two, together, same = trained(tmp_path / "two.safetensors", *TORCHRUN, "2")
    assert (one, two) == (1, 2)
    assert alone == together and "loss" in alone[-1]
    for name, values in weights.items():
        assert torch.allclose(values, same[name], atol=5e-3), name
