"""Propagation: every place of a map becomes what the places like it say."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.heads.dense import dense


class Propagation(nn.Module):
    """``y_i = Σ_j max(cos(x_i, x_j), 0)^γ · v_j`` over the places j of a map, brought to unit length.

    The values v are unit vectors of ``t(x)``, t a transformation at each place. Weights are not scaled to a
    sum of 1: what a softmax would make of them is another module. Xie et al. 2021 (PixPro), arXiv:2011.10043,
    section 3.2.

    Args:
        dim: Channels D.
        layers: Of the transformation: 0 is none, 1 linear, 2 with batch normalization and ReLU between.
        sharpness: γ > 0; the greater, the more alike a place must be to be heard.

    Raises:
        InputError: ``sharpness`` is not positive.
    """

    def __init__(self, dim: int, layers: Literal[0, 1, 2] = 1, sharpness: float = 2.0) -> None:
        super().__init__()
        if sharpness <= 0:
            raise InputError(f"sharpness: expected a positive number, found {sharpness}")
        self.sharpness = sharpness
        self.transform = dense(dim, dim, dim, layers) if layers else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, H, W) → (B, D, H, W) of unit vectors; a place of zeros hears nothing."""
        value = normalize(self.transform(x), dim=1).flatten(2)
        unit = normalize(x, dim=1).flatten(2)
        likeness = (unit.mT @ unit).clamp(min=0)
        if self.sharpness < 1:
            likeness = likeness + 1e-6  # the slope of a root at 0 is infinite
        # likeness is symmetric: rows and columns are alike
        return normalize(value @ likeness**self.sharpness, dim=1).view_as(x)
