"""Center: a running mean of rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError


class Center(nn.Module):
    """c ← m·c + (1 − m)·mean of a batch, from 0 (DINO, Caron et al. 2021, arXiv:2104.14294, eq. 4).

    Args:
        dim: Width of the rows.
        momentum: m, in [0, 1).

    Raises:
        InputError: ``dim`` is less than 1, or ``momentum`` outside [0, 1).
    """

    mean: Tensor

    def __init__(self, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        if dim < 1 or not 0 <= momentum < 1:
            raise InputError(f"center: expected a positive dim, momentum in [0, 1), found {dim}, {momentum}")
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(dim))

    def read(self) -> Tensor:
        """(dim,): the running mean. Not a copy: the next ``follow`` changes it."""
        return self.mean

    @torch.no_grad()
    def follow(self, rows: Tensor) -> None:
        """Move towards the mean of (B, dim) rows; call it in ``after_step``, so that a loss sees the old one.

        Raises:
            ValueError: the rows are not of width ``dim``, or there is none.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.mean) or not len(rows):
            raise ValueError(f"rows: expected (B, {len(self.mean)}), found {tuple(rows.shape)}")
        self.mean.lerp_(rows.to(self.mean).mean(0), 1 - self.momentum)
