"""Self-supervised pretraining: packets are hidden, and the text encoder tells their size and gap from the others
(masked language modelling, Devlin et al. 2019, as ET-BERT and others have it for traffic). It needs no labels, so every
window counts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtt_agent import features
from mmtt_agent.series import SeriesBatch

from ..config import Config
from ..data.dataset import Dataset
from ..network.architecture import Model
from .augment import augment
from .checkpoint import load, save


class _Guesser(nn.Module):
    """What turns a read word into guesses of the size word and the gap word of each of its packets."""

    def __init__(self, width: int, packets_per_word: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.size = nn.Linear(width, packets_per_word * features.SIZE_WORDS)
        self.gap = nn.Linear(width, packets_per_word * features.GAP_WORDS)


def pretrain(config: Config, model: Model, dataset: Dataset, cache: Path, say: Callable[[str], None]) -> float:
    """Train ``model``'s text encoder on the training part's windows and those without labels; seconds that it took.
    Kept in the file ``cache`` for a run that is taken up again."""
    settings = config.training
    train = dataset.rows("train")
    windows = SeriesBatch.concatenate([dataset.series[train], dataset.unlabelled])
    timed = np.concatenate([dataset.timed[train], dataset.unlabelled_timed])
    key = hashlib.sha256(
        repr((config.seed, settings, model.text, dataset.digest(), len(dataset.unlabelled))).encode()
    ).hexdigest()
    saved = load(cache, key, say)
    if saved:
        model.text.load_state_dict(saved["text"])
        return float(saved["seconds"])
    torch.manual_seed(config.seed)
    guesser = _Guesser(model.text.position.shape[1], model.text.packets_per_word).to(model.queries.device)
    steps = max(1, len(windows) // settings.batch)
    parameters = [*model.text.parameters(), *guesser.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, steps * settings.pretraining + 1, pct_start=0.1
    )
    begun = time.monotonic()
    model.train()
    for epoch in range(1, settings.pretraining + 1):
        rng = np.random.default_rng((config.seed, 7, epoch))
        losses = []
        order = rng.permutation(len(windows))[: steps * settings.batch]
        for start in range(0, len(order), settings.batch):
            rows = order[start : start + settings.batch]
            batch = augment(windows[rows], settings.augment, rng)
            loss = _loss(model, guesser, batch, timed[rows], settings.hidden, rng)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        say(
            f"pretraining, epoch {epoch}/{settings.pretraining}: loss {np.mean(losses):.3f} on {len(windows):,} windows"
        )
    seconds = time.monotonic() - begun
    save(cache, {"key": key, "text": model.text.state_dict(), "seconds": seconds})
    return seconds


def _loss(
    model: Model,
    guesser: _Guesser,
    windows: SeriesBatch,
    timed: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> Tensor:
    device = guesser.hidden.device
    statistics, sizes, gaps = (tensor.to(device) for tensor in model.inputs(windows, timed)[:3])
    filled = np.arange(windows.sizes.shape[1]) < windows.lengths[:, None]
    hidden = torch.from_numpy(filled & (rng.random(filled.shape) < share)).to(device)
    if not hidden.any():
        return (guesser.hidden * 0).sum()
    read, _ = model.text(statistics, sizes, gaps, (hidden, guesser.hidden))
    packets = read[:, model.text.statistic_words :]
    size, gap = (
        functional.cross_entropy(guess(packets).reshape(*words.shape, -1)[hidden], words[hidden].long())
        for guess, words in ((guesser.size, sizes), (guesser.gap, gaps))
    )
    return size + gap
