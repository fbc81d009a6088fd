"""Gates: which dimensions of an embedding count where samples of two given classes are compared."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError


class PairGate(nn.Module):
    """A vector in (0, 1)^dim for every unordered pair of classes.

    A code for every class, and a perceptron with batch normalization over what two codes make: their mean, or
    the product of what it says of each. Wu et al. 2024 (Hydra, later SimLAP), arXiv:2410.18200: codes of 512,
    a hidden layer twice as wide.

    Args:
        classes: How many classes there are.
        dim: Width of the embedding.
        width: Width of the codes.
        fuse: "mean" of two codes before, or "product" of two gates behind the perceptron.

    Raises:
        InputError: a number that is less than 1.
    """

    def __init__(
        self, classes: int, dim: int, width: int = 512, fuse: Literal["mean", "product"] = "mean"
    ) -> None:
        super().__init__()
        if min(classes, dim, width) < 1:
            raise InputError(f"gate: expected positive numbers, found {classes}, {dim} and {width}")
        self.fuse = fuse
        self.code = nn.Embedding(classes, width)
        self.perceptron = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.BatchNorm1d(2 * width),
            nn.Linear(2 * width, dim),
        )

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(N,) and (N,) classes → (N, dim) in (0, 1); alike if the two are exchanged."""
        a, b = self.code(one), self.code(other)
        if self.fuse == "mean":
            return torch.sigmoid(self.perceptron((a + b) / 2))
        both = torch.sigmoid(self.perceptron(torch.cat([a, b])))
        return both[: len(a)] * both[len(a) :]
