"""A head without weights to learn: fixed, ever smaller weights of the features' dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError


class Diagonal(nn.Module):
    """Dimension j times ``κ^−j``, as a loss sees the features; taken off again after training.

    Xue et al. 2024, arXiv:2403.11391, in place of a projection head: dimensions that hardly count in the
    loss keep what those that count throw away. κ = 1 is no head.

    Args:
        dim: Width of the features, which the embedding has too.
        kappa: κ ≥ 1.
        least: Smallest weight; with κ = 1.1 the 512th would be 1e-21, which no loss can see.

    Raises:
        InputError: κ < 1, or ``least`` not in (0, 1].
    """

    weight: Tensor

    def __init__(self, dim: int, kappa: float, least: float = 1e-5) -> None:
        super().__init__()
        if not kappa >= 1 or not 0 < least <= 1:
            raise InputError(f"diagonal: expected kappa ≥ 1 and 0 < least ≤ 1, found {kappa} and {least}")
        falling = float(kappa) ** -torch.arange(dim, dtype=torch.float64)
        self.register_buffer("weight", falling.clamp(min=least).float())

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim) → (B, dim)."""
        return x * self.weight
