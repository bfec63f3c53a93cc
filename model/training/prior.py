"""From the shares of classes that training showed to those that there are: rare classes are shown more often than they
come, so that they are learnt, and what that did to the answers is taken back (logit adjustment: Menon et al., ICLR
2021).
"""

from __future__ import annotations

import numpy as np
import torch

from ..data.dataset import Dataset
from ..data.weights import class_shares
from ..network.architecture import Model

#: Tasks whose rare classes are shown more often.
_TASKS = ("service", "application")
#: A class that training does not have stays as unlikely as one that is this rare.
_LEAST = 1e-4


@torch.no_grad()
def adjust(model: Model, dataset: Dataset, strength: float) -> None:
    """Move the biases of the heads by ``strength`` (0 to 1) of what the shares differ by."""
    for task in _TASKS:
        shown, there = class_shares(dataset, dataset.rows("train"), task)
        difference = np.log(there.clip(_LEAST)) - np.log(shown.clip(_LEAST))
        bias = getattr(model, task).bias
        bias += torch.from_numpy(strength * difference).to(bias)
