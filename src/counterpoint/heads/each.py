"""Several networks side by side, one for each part of a sample."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Each(nn.ModuleList):
    """The i-th network sees the i-th input: V inputs, or (V, B, …), → (V, B, D)."""

    def forward(self, parts: Iterable[Tensor]) -> Tensor:
        """Raises ``ValueError`` unless there are as many inputs as networks, and outputs of one shape."""
        return torch.stack([network(part) for network, part in zip(self, parts, strict=True)])
