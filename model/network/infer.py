"""A network's answers to windows."""

from __future__ import annotations

import numpy as np
import torch

from mmtt_agent.series import SeriesBatch

from .architecture import TASKS, Network


def infer(
    model: Network, series: SeriesBatch, timed: np.ndarray | None = None, batch: int = 512
) -> dict[str, np.ndarray]:
    """Logits of all windows, by task; ``timed`` says of which the times are known, if not of all."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, max(len(series), 1), batch):
            part = slice(start, start + batch)
            inputs = model.inputs(series[part], None if timed is None else timed[part])
            parts.append(model(*(tensor.to(device) for tensor in inputs)))
    model.train(was_training)
    by_task = zip(TASKS, zip(*parts, strict=True), strict=True)
    return {task: torch.cat(outputs).cpu().numpy() for task, outputs in by_task}
