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

#: After 1 / (1 - this) windows of a class more of them say little new ("balanced" class weights).
_BETA = 0.999

ALL = slice(None)


class Objective(nn.Module):
    """A network and the loss of one step of its training, which is what `forward` gives.

    Args:
        train: rows that the classes' weights are reckoned from.
        taught: a teacher's logits by task over the whole data set, or None.
    """

    def __init__(
        self,
        model: Network,
        dataset: Dataset,
        train: np.ndarray,
        settings: Training,
        taught: dict[str, np.ndarray] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.dataset, self.settings, self.taught = model, dataset, settings, taught
        self.tasks = tuple(task for task in TASKS if getattr(settings, task))
        self.class_weights = class_weights(dataset, train, settings.class_weights)
        #: Learned task weights: of each task the logarithm of the variance of its answers. Of the training, not of the
        #: model.
        self.noise = nn.ParameterDict()
        if settings.task_weights == "learned":
            for task in self.tasks:
                self.noise[task] = nn.Parameter(-torch.tensor(getattr(settings, task)).log())

    def forward(self, windows: SeriesBatch, batch: np.ndarray, own: slice = ALL) -> torch.Tensor:
        """The loss of the rows ``batch[own]``, whose ``windows`` (changed by augmentation) are given.

        With several processes each has every so-manieth row, ``own``; the mean of their losses is that of the whole
        batch.
        """
        device = next(self.model.parameters()).device
        inputs = (tensor.to(device) for tensor in self.model.inputs(windows))
        # Half the width of numbers where a GPU gains by it; the losses are reckoned in full.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.model(*inputs)
        logits = tuple(output.float() for output in logits)
        loss: torch.Tensor = self.labelled(logits, batch, own) + getattr(self.model, "own_loss", 0.0)
        if self.taught:
            taught = self._as_taught(self.taught, logits, batch, own)
            loss = (1 - self.settings.teacher) * loss + self.settings.teacher * taught
        return loss

    def labelled(self, logits: tuple[torch.Tensor, ...], batch: np.ndarray, own: slice = ALL) -> torch.Tensor:
        """The tasks' losses, weighted; a window without a label for a task takes no part in that task's."""
        total, smoothing = logits[0].new_zeros(()), self.settings.label_smoothing
        for task, answers in zip(TASKS, logits, strict=True):
            labels = torch.from_numpy(self.dataset.targets()[task][batch]).to(answers.device)
            known = labels != MISSING
            if task not in self.tasks or not known.any():
                continue
            weights = self.class_weights[task].to(answers.device)
            everyone = weights[labels[known]].sum() / (own.step or 1)
            # By the share of labelled windows, so that a lone label in a batch does not shout.
            share = min(1.0, 4 * known.float().mean().item())
            labels, output = labels[own][known[own]], answers[known[own]]
            if task == "malicious":
                smooth = labels.to(output.dtype) * (1 - smoothing) + smoothing / 2
                losses = functional.binary_cross_entropy_with_logits(output, smooth, reduction="none")
            else:
                losses = functional.cross_entropy(output, labels, reduction="none", label_smoothing=smoothing)
            part = (losses * weights[labels]).sum() / everyone * share
            if self.noise:
                # Half the logarithm keeps the variance from growing without end (Kendall et al. 2018).
                part = torch.exp(-self.noise[task]) * part + share * self.noise[task] / 2
            else:
                part = getattr(self.settings, task) * part
            total = total + part
        return total

    def _as_taught(
        self, taught: dict[str, np.ndarray], logits: tuple[torch.Tensor, ...], batch: np.ndarray, own: slice
    ) -> torch.Tensor:
        """How far the answers are from the teacher's, for the windows with a label for the task."""
        total = logits[0].new_zeros(())
        for task, answers in zip(TASKS, logits, strict=True):
            everyone = self.dataset.targets()[task][batch] != MISSING
            known = torch.from_numpy(everyone[own]).to(answers.device)
            if task not in self.tasks or not known.any():
                continue
            wanted = torch.from_numpy(taught[task][batch[own]]).to(answers.device)[known]
            output, share = answers[known], everyone[own].sum() * (own.step or 1) / everyone.sum()
            if task == "malicious":
                total = total + functional.binary_cross_entropy_with_logits(output, wanted.sigmoid()) * share
            else:
                total = total + functional.cross_entropy(output, wanted.softmax(-1)) * share
        return total


def class_weights(dataset: Dataset, rows: np.ndarray, way: str) -> dict[str, torch.Tensor]:
    """Per task, a weight per class by its windows among ``rows``, 1 on average; ``way`` as ``Training.class_weights``
    has it.
    """
    weights = {}
    for task, values in dataset.targets().items():
        known = values[rows][values[rows] != MISSING]
        count = np.bincount(known, minlength=dataset.classes(task)).clip(1)
        if way == "root":
            weight = 1 / np.sqrt(count)
        elif way == "balanced":
            weight = (1 - _BETA) / (1 - _BETA**count)
        else:
            weight = np.ones(len(count))
        weights[task] = torch.tensor(weight / weight.mean(), dtype=torch.float32)
    return weights
