"""Trains the tiny network on made windows, as `torchrun` or alone starts it; writes the first process's weights to
argv[1].
"""

import sys
from pathlib import Path

from safetensors.torch import save_file
from synthetic import TINY, synthetic

from mmtt_model.config import Config, Training
from mmtt_model.network.architecture import Architecture
from mmtt_model.training import distributed
from mmtt_model.training.train import fit, help_out

out = Path(sys.argv[1])
# A process draws its own dropout; without any, all together must do what one does alone.
architecture = Architecture(**{**TINY["architecture"], "dropout": 0.0})
told = Config("tiny", training=Training(epochs=2, windows=128, batch=32, learning_rate=0.01))
with distributed.joined() as helping:
    if helping:
        help_out()
    else:
        lines = []
        model, _ = fit(told, architecture, synthetic(), out.with_suffix(".checkpoint"), lines.append)
        save_file(model.state_dict(), out)
        print(distributed.size(), *lines, sep="\n")
