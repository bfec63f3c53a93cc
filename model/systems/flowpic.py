"""mini-FlowPic CNN (Horowicz, Shapira, Shavitt, "A Few Shots Traffic Classification with mini-FlowPic Augmentations",
IMC 2022): a flow as a picture of 32 by 32, time across, packet size down, in LeNet-5.

The layers are those of its replication (Finamore et al., IMC 2023). There the picture is of a flow's first 15 seconds;
here of a window, as for all.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmtt_agent.series import SeriesBatch

from ..network.architecture import Network
from .heads import Heads

_SIDE, _SECONDS, _LARGEST = 32, 15.0, 1500


class MiniFlowPic(Network):
    def __init__(self, services: int, applications: int, kinds: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.Dropout2d(0.25), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Dropout(0.5),
        )  # fmt: skip
        self.heads = Heads(84, services, applications, kinds)

    @staticmethod
    def inputs(series: SeriesBatch, timed: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """(B, 1, 32, 32): how many packets, whichever way, are in each cell, against the fullest."""
        picture = np.zeros((len(series), _SIDE, _SIDE), np.float32)
        row, packet = np.nonzero(np.arange(series.sizes.shape[1]) < series.lengths[:, None])
        size = np.abs(series.sizes[row, packet]).clip(0, _LARGEST - 1) * _SIDE // _LARGEST
        time = (series.times[row, packet] / 1e6 / _SECONDS * _SIDE).astype(np.int64)
        seen = time < _SIDE
        np.add.at(picture, (row[seen], size[seen], time[seen]), 1)
        picture /= picture.max(axis=(1, 2), keepdims=True).clip(1)
        return (torch.from_numpy(picture[:, None]),)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return cast("tuple[Tensor, ...]", self.heads(self.trunk(picture)))
