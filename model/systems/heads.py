"""What the compared networks end in: a linear layer for each task."""

from __future__ import annotations

from torch import Tensor, nn


class Heads(nn.Module):
    def __init__(self, width: int, services: int, applications: int, kinds: int) -> None:
        super().__init__()
        self.service = nn.Linear(width, services)
        self.application = nn.Linear(width, applications)
        self.malicious = nn.Linear(width, 1)
        self.malicious_kind = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, D) -> (B, services), (B, applications), (B,), (B, kinds)"""
        return self.service(x), self.application(x), self.malicious(x).squeeze(1), self.malicious_kind(x)
