"""What training makes small: the tasks' losses, each over the windows with a label for it, and what weighs how much."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from mmtt_agent.series import SeriesBatch

from ..config import Training
from ..data.dataset import Dataset
from ..data.labels import MISSING
from ..network.architecture import TASKS, Network

ALL = slice(None)


class Objective(nn.Module):
    """A network and the loss of one step of its training, which is what `forward` gives.

    Args:
        counts: by task, what each window of the data set counts, (N,).
        taught: a teacher's logits by task over the whole data set, or None.
    """

    def __init__(
        self,
        model: Network,
        dataset: Dataset,
        counts: dict[str, np.ndarray],
        settings: Training,
        taught: dict[str, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.dataset, self.counts, self.settings, self.taught = model, dataset, counts, settings, taught
        self.tasks = tuple(task for task in TASKS if getattr(settings, task))

    def forward(self, windows: SeriesBatch, timed: np.ndarray, batch: np.ndarray, own: slice = ALL) -> torch.Tensor:
        """The loss of the rows ``batch[own]``, whose ``windows`` (changed by augmentation) are given, and of which of
        them the times are shown.

        With several processes each has every so-manieth row, ``own``; the mean of their losses is that of the whole
        batch.
        """
        device = next(self.model.parameters()).device
        inputs = (tensor.to(device) for tensor in self.model.inputs(windows, timed))
        # Half the width of numbers where a GPU gains by it; the losses are reckoned in full.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.model(*inputs)
        logits = tuple(output.float() for output in logits)
        rows = batch[own]
        loss: torch.Tensor = logits[0].new_zeros(()) + getattr(self.model, "own_loss", 0.0)
        for task, answers in zip(TASKS, logits, strict=True):
            if task in self.tasks:
                loss = loss + getattr(self.settings, task) * self._of_task(task, answers, rows)
        return loss

    def _of_task(self, task: str, answers: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """The mean over ``rows`` of what each counts; a window without a label for the task counts nothing."""
        smoothing, share = self.settings.label_smoothing, self.settings.teacher if self.taught else 0.0
        labels = torch.from_numpy(self.dataset.targets()[task][rows]).to(answers.device)
        known = labels != MISSING
        if not known.any():
            return answers.new_zeros(())
        weight = torch.from_numpy(self.counts[task][rows]).to(answers.device)[known]
        labels, output = labels[known], answers[known]
        if task == "malicious":
            smooth = labels.to(output.dtype) * (1 - smoothing) + smoothing / 2
            losses = functional.binary_cross_entropy_with_logits(output, smooth, reduction="none")
        else:
            losses = functional.cross_entropy(output, labels, reduction="none", label_smoothing=smoothing)
        if self.taught and task in self.taught:
            wanted = torch.from_numpy(self.taught[task][rows]).to(answers.device)[known]
            if task == "malicious":
                told = functional.binary_cross_entropy_with_logits(output, wanted.sigmoid(), reduction="none")
            else:
                told = functional.cross_entropy(output, wanted.softmax(-1), reduction="none")
            losses = (1 - share) * losses + share * told
        mean: torch.Tensor = (losses * weight).sum() / len(rows)
        return mean
