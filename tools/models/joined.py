"""Both speaker networks as one: their embeddings, each of unit length, side by side.

The cosine of what lies side by side is the weighted mean of both similarities. The networks err in
different cases: models/README.md has what that brings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tools.models.campplus import CampPlus
from tools.models.ecapa import Ecapa

SECOND_COUNTS = 0.4
"""How much the second one's similarity counts."""


class Joined(nn.Module):  # type: ignore[misc,unused-ignore]
    """Two networks that take the same features."""

    def __init__(self, first: CampPlus, second: Ecapa) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, features: Tensor) -> Tensor:
        """Embed windows, shape (n, frames, 80); embeddings of unit length, shape (n, 384)."""
        first, second = _unit(self.first(features)), _unit(self.second(features))
        shares = (math.sqrt(1.0 - SECOND_COUNTS), math.sqrt(SECOND_COUNTS))
        return torch.cat([first * shares[0], second * shares[1]], dim=1)


def _unit(x: Tensor) -> Tensor:
    return x * torch.rsqrt(torch.clamp(torch.square(x).sum(dim=1, keepdim=True), min=1e-12))
