"""Training: a model from a data set, epoch by epoch, so that it can be interrupted and taken up again."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..config import Config
from ..data.dataset import Dataset
from ..evaluation import evaluate
from ..network.architecture import TASKS, Architecture, Model, Network
from ..network.infer import infer
from . import distributed
from .augment import augment
from .board import Board
from .checkpoint import load, save
from .losses import Objective
from .pretrain import pretrain
from .prior import adjust
from .sampling import sampling

#: Makes a network for so many services, applications and kinds of what is malicious; if it has an ``own_loss``, that is
#: added to the tasks'.
Build = Callable[[int, int, int], Network]


def fit(
    config: Config,
    build: Architecture | Build,
    dataset: Dataset,
    checkpoint: Path,
    say: Callable[[str], None],
    tensorboard: Path | None = None,
    taught: dict[str, np.ndarray] | None = None,
) -> tuple[Network, float]:
    """The network at the end of training, its weights the running mean of the last steps', and the seconds that
    training took, without its teacher's. How many epochs there are is a choice made by cross-validation: no site is
    looked at for the best one.

    Args:
        checkpoint: where each epoch leaves what an interrupted training goes on from.
        tensorboard: directory for the figures of each epoch.
        taught: a teacher's logits by task over the whole data set (see `teacher.soft_labels`), where the configuration
            has one.

    Under ``torchrun`` the other processes must be in `help_out`.
    """
    settings = config.training
    if bool(settings.teacher) != (taught is not None):
        raise ValueError("a teacher's answers are needed just where training.teacher is above 0")
    if isinstance(build, Architecture):
        build = partial(Model, build)
    model = _new(config, build, dataset)
    average = copy.deepcopy(model).eval().requires_grad_(False)
    validation = dataset.rows("validation")
    key = hashlib.sha256(repr((config.seed, settings, build, dataset.digest())).encode())
    state: dict[str, Any] = {
        "key": key.hexdigest(),
        "epoch": 0,
        "seconds": 0.0,
        "average": average.state_dict(),
    }
    if settings.pretraining and isinstance(model, Model):
        state["seconds"] = pretrain(config, model, dataset, checkpoint.with_suffix(".pretrained.safetensors"), say)
        average.load_state_dict(model.state_dict())
        state["average"] = average.state_dict()
    saved = load(checkpoint, state["key"], say)
    if saved:
        state = saved
        average.load_state_dict(state["average"])
        say(f"{checkpoint}: going on after epoch {state['epoch']}")
    distributed.shared((config, build, dataset, taught, saved))
    course = _Course(config, model, dataset, taught, saved)

    board = Board(tensorboard, state["epoch"])
    for epoch in range(state["epoch"] + 1, settings.epochs + 1):
        begun = time.monotonic()
        distributed.shared(epoch)
        # Early on the mean follows closely; later it is as long as asked for.
        loss = course.epoch(epoch, lambda done: _follow(average, model, min(settings.average, done / (done + 10))))
        answers = infer(average, dataset.series[validation], dataset.timed[validation])
        figures = evaluate.scores(dataset, validation, answers, dict.fromkeys(TASKS, 1.0))
        say(
            f"epoch {epoch}/{settings.epochs}: loss {loss:.3f}; validation: "
            f"service F1 {figures['service'].get('macro_f1', math.nan):.3f}, "
            f"application F1 {figures['application'].get('macro_f1', math.nan):.3f}, "
            f"malicious AUROC {figures['malicious']['auroc']:.3f}; {time.monotonic() - begun:.0f} s"
        )
        board.write(epoch, {
            "training": {"loss": loss, "learning rate": course.schedule.get_last_lr()[0]},
            "validation": figures,
        })  # fmt: skip
        state |= {
            "epoch": epoch,
            "seconds": state["seconds"] + time.monotonic() - begun,
            "average": average.state_dict(),
            **course.state(),
        }
        save(checkpoint, state)
    distributed.shared(None)
    board.close()
    model.load_state_dict(state["average"])
    if settings.prior and isinstance(model, Model):
        adjust(model, dataset, settings.prior)
    return model.cpu().eval(), state["seconds"]


def help_out() -> None:
    """Train with the first process, as long as it calls `fit`."""
    while work := distributed.shared(None):
        config, build, dataset, taught, saved = work
        course = _Course(config, _new(config, build, dataset), dataset, taught, saved)
        while epoch := distributed.shared(None):
            course.epoch(epoch)


def _new(config: Config, build: Build, dataset: Dataset) -> Network:
    torch.manual_seed(config.seed)
    return build(len(dataset.services), len(dataset.applications), len(dataset.kinds)).to(distributed.device())


class _Course:
    """What each process does of a training: the same draws as the others, and its own rows of each batch.

    Args:
        saved: what `state` gave, to go on from there.
    """

    def __init__(
        self,
        config: Config,
        model: Network,
        dataset: Dataset,
        taught: dict[str, np.ndarray] | None,
        saved: dict[str, Any] | None,
    ) -> None:
        settings = config.training
        self.config, self.dataset, self.model = config, dataset, model
        self.train = dataset.rows("train")
        self.chance, counts = sampling(dataset, self.train, settings.lab)
        self.steps = max(1, settings.windows // settings.batch)
        self.objective = Objective(model, dataset, counts, settings, taught).to(distributed.device())
        decayed = [p for p in self.objective.parameters() if p.ndim > 1]
        plain = [p for p in self.objective.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.learning_rate,
        )
        total = self.steps * settings.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _learning_rate(step, total, settings.warm_up)
        )
        if saved:
            model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.schedule.load_state_dict(saved["schedule"])
        self.loss = distributed.alike(self.objective)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def epoch(self, number: int, after_step: Callable[[int], None] = lambda done: None) -> float:
        """Train for the epoch ``number``, from 1; the mean loss. ``after_step`` is told how many steps of all are
        done.
        """
        settings, own, losses = self.config.training, distributed.own(), []
        # Seeded per epoch, so that a run that was interrupted goes on as it would have; and apart, so that what one
        # process drops out of its rows the others don't out of theirs.
        rng = np.random.default_rng((self.config.seed, number))
        torch.manual_seed(self.config.seed * 100_003 + number + 7_919 * (own.start or 0))
        self.model.train()
        drawn = rng.choice(self.train, self.steps * settings.batch, p=self.chance)
        for start in range(0, len(drawn), settings.batch):
            rows = drawn[start : start + settings.batch]
            windows = augment(self.dataset.series[rows], settings.augment, rng, settings.other_mtu)
            timed = self.dataset.timed[rows] & (rng.random(len(rows)) >= settings.no_gaps)
            loss = self.loss(windows[own], timed[own], rows, own)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            losses.append(loss.item())
            after_step((number - 1) * self.steps + len(losses))
        return distributed.mean(float(np.mean(losses)))


def _learning_rate(step: int, total: int, warm_up: float) -> float:
    rising = max(1, int(total * warm_up))
    if step < rising:
        return (step + 1) / rising
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    # All at once: one by one, a GPU would wait for the next.
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    # Running statistics are means already.
    for mean, value in zip(average.buffers(), model.buffers(), strict=True):
        mean.copy_(value)
