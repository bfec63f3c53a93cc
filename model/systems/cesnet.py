"""mm-CESNET-v2 (Luxemburk, Hynek, Čejka, "Encrypted traffic classification: the QUIC case", TMA 2023): a CNN over
sizes, waits and directions of the first 30 packets, an MLP over flow statistics, and one over both.

The flow statistics are those of its list that a window has: bytes, packets, duration, length, round trips, and the
histograms of sizes and waits. The flow's end reasons are not known while it lasts.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmtt_agent.series import SeriesBatch

from ..network.architecture import Network
from .heads import Heads

_PACKETS = 30
#: Upper edges of ipfixprobe's histograms of sizes (bytes) and waits (ms): 0-15, 16-31, 32-63 … 1024 and more.
_EDGES = np.array([16, 32, 64, 128, 256, 512, 1024])
STATISTICS = 8 + 4 * (len(_EDGES) + 1)


class MMCesnetV2(Network):
    def __init__(self, services: int, applications: int, kinds: int) -> None:
        super().__init__()

        def convolution(inside: int, outside: int, kernel: int, padding: int = 0) -> list[nn.Module]:
            return [nn.Conv1d(inside, outside, kernel, padding=padding), nn.ReLU(), nn.BatchNorm1d(outside)]

        def dense(inside: int, outside: int) -> list[nn.Module]:
            return [nn.Linear(inside, outside), nn.ReLU(), nn.BatchNorm1d(outside)]

        self.packets = nn.Sequential(
            *convolution(3, 200, 7, 3),
            *(layer for _ in range(3) for layer in convolution(200, 200, 5, 2)),
            *convolution(200, 300, 5),
            *convolution(300, 300, 5),
            nn.Conv1d(300, 300, 4, 2), nn.ReLU(),
            _GeneralisedMean(), nn.BatchNorm1d(300), nn.Dropout(0.1),
        )  # fmt: skip
        self.statistics = nn.Sequential(nn.BatchNorm1d(STATISTICS), *dense(STATISTICS, 225), *dense(225, 225),
                                        *dense(225, 225), *dense(225, 225), nn.Dropout(0.1))  # fmt: skip
        self.shared = nn.Sequential(*dense(525, 600), nn.Dropout(0.2))
        self.heads = Heads(600, services, applications, kinds)

    @staticmethod
    def inputs(series: SeriesBatch, timed: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """(B, 3, 30) sizes, waits, directions, scaled as the paper's pipeline does; (B, STATISTICS)."""
        filled = np.arange(_PACKETS) < series.lengths[:, None]
        signed = series.sizes[:, :_PACKETS]
        waits = np.diff(series.times[:, :_PACKETS], axis=1, prepend=0).clip(0) / 1e3
        sizes = (np.abs(signed).clip(1, 1460) - 473.2) / 529.8
        sequence = np.stack([sizes, (waits.clip(0, 15_000) - 105.2) / 1061.2, np.sign(signed)], 1)
        return (
            torch.from_numpy(np.where(filled[:, None], sequence, 0).astype(np.float32)),
            torch.from_numpy(_statistics(series)),
        )

    def forward(self, sequence: Tensor, statistics: Tensor) -> tuple[Tensor, ...]:
        both = torch.cat([self.packets(sequence), self.statistics(statistics)], 1)
        return cast("tuple[Tensor, ...]", self.heads(self.shared(both)))


class _GeneralisedMean(nn.Module):
    """Pooling between mean and maximum, its power learnt (Radenović et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) -> (B, C)"""
        return x.clamp(min=1e-6).pow(self.power).mean(2).pow(1 / self.power)


def _statistics(series: SeriesBatch) -> np.ndarray:
    filled = np.arange(series.sizes.shape[1]) < series.lengths[:, None]
    sizes = np.where(filled, np.abs(series.sizes), 0)
    up, down = filled & (series.sizes > 0), filled & (series.sizes < 0)
    direction = np.where(filled, np.sign(series.sizes), 0)
    trips = ((direction[:, 1:] * direction[:, :-1]) < 0).sum(1)
    duration = series.times.max(axis=1) / 1e6
    counted = [
        (sizes * up).sum(1),
        (sizes * down).sum(1),
        up.sum(1),
        down.sum(1),
        duration * 10,
        series.lengths,
        trips,
        duration,
    ]
    waits = np.diff(series.times, axis=1, prepend=0).clip(0) / 1e3
    histograms = [_histogram(values, way) for values in (sizes, waits) for way in (up, down)]
    return np.concatenate([np.log1p(np.stack(counted, 1)), *histograms], 1).astype(np.float32)


def _histogram(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(B, 8): share of the counted packets in each bin."""
    bins = np.digitize(values, _EDGES)
    found = np.stack([((bins == number) & counted).sum(1) for number in range(len(_EDGES) + 1)], 1)
    shares: np.ndarray = found / counted.sum(1, keepdims=True).clip(1)
    return shares
