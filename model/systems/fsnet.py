"""FS-Net (Liu et al., "FS-Net: A Flow Sequence Network For Encrypted Traffic Classification", INFOCOM 2019): signed
packet lengths as words, read by stacked bi-GRUs, written again by others; what both remember is classified, and how
well the sequence was written again is part of the loss.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtt_agent.series import MAX_PAYLOAD_PACKETS, SeriesBatch

from ..network.architecture import Network
from .heads import Heads

#: Lengths above are one word each way; 0 stands for no packet.
_LARGEST = 1500
_WIDTH, _LAYERS, _DROPOUT = 128, 2, 0.3


class FSNet(Network):
    def __init__(self, services: int, applications: int, kinds: int) -> None:
        super().__init__()
        words = 2 * _LARGEST + 1
        self.embedding = nn.Embedding(words, _WIDTH)
        self.encoder = nn.GRU(_WIDTH, _WIDTH, _LAYERS, batch_first=True, bidirectional=True, dropout=_DROPOUT)
        self.decoder = nn.GRU(
            2 * _WIDTH * _LAYERS, _WIDTH, _LAYERS, batch_first=True, bidirectional=True, dropout=_DROPOUT
        )
        self.rebuild = nn.Linear(2 * _WIDTH, words)
        self.compress = nn.Sequential(nn.Linear(8 * _WIDTH * _LAYERS, 2 * _WIDTH), nn.SELU(), nn.Dropout(_DROPOUT),
                                      nn.Linear(2 * _WIDTH, 2 * _WIDTH), nn.SELU(), nn.Dropout(_DROPOUT))  # fmt: skip
        self.heads = Heads(2 * _WIDTH, services, applications, kinds)
        #: Of the last forward pass in training: the mean cross-entropy of the lengths written again.
        self.own_loss: Tensor | float = 0.0

    def __getstate__(self) -> dict[str, Any]:
        # A loss with its graph belongs to the step that made it, and can't go to another process.
        return {**self.__dict__, "own_loss": 0.0}

    @staticmethod
    def inputs(series: SeriesBatch, timed: np.ndarray | None = None) -> tuple[Tensor, ...]:
        """(B, 32) words."""
        sizes = series.sizes.clip(-_LARGEST, _LARGEST)
        return (torch.from_numpy(np.where(sizes < 0, _LARGEST - sizes, sizes).astype(np.int64)),)

    def forward(self, words: Tensor) -> tuple[Tensor, ...]:
        _, read = self.encoder(self.embedding(words))
        read = read.transpose(0, 1).flatten(1)  # (B, 2 * layers * D)
        written, remembered = self.decoder(read[:, None].expand(-1, MAX_PAYLOAD_PACKETS, -1))
        remembered = remembered.transpose(0, 1).flatten(1)
        if self.training:
            there = words != 0
            self.own_loss = functional.cross_entropy(self.rebuild(written[there]), words[there])
        both = torch.cat([read, remembered, read * remembered, (read - remembered).abs()], 1)
        return cast("tuple[Tensor, ...]", self.heads(self.compress(both)))
