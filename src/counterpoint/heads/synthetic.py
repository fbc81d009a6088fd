"""A second positive for every query, made of the query and its key: farther from the key, then smoothed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from counterpoint.core.errors import InputError
from counterpoint.heads.mlp import mlp


class SyntheticPositive(nn.Module):
    """``h = MLP([x ; e])`` with ``e = (1 + r) x − r k``, r uniform in [0, reach] for the whole batch.

    Wu et al. 2023 (Hallucinator), arXiv:2307.12168, section 3: the step away from the key lowers what both
    share, the perceptron makes it smooth; it learns with the rest and is left behind. The key is a constant
    here. That does not keep the perceptron from learning the way back to it, for it sees x and e: then h
    is nearer to the key than the query is, and teaches nothing.

    Args:
        dim: Width D of queries and keys.
        reach: Largest r, ≥ 0; 0 for the perceptron alone.
        away: From the key, or as far in a direction of no meaning.
        smooth: Whether there is a perceptron; else h is e.

    Raises:
        InputError: a negative reach.
    """

    def __init__(
        self, dim: int, reach: float = 0.1, away: Literal["key", "nothing"] = "key", smooth: bool = True
    ) -> None:
        super().__init__()
        if not reach >= 0:
            raise InputError(f"reach: expected a number ≥ 0, found {reach}")
        self.reach, self.away = reach, away
        self.smooth = mlp(2 * dim, 2 * dim, dim, layers=3, norm=False) if smooth else None

    def forward(self, query: Tensor, key: Tensor, rng: torch.Generator) -> Tensor:
        """(B, D) queries and keys, row by row of one sample, of any length → (B, D)."""
        step = query - key.detach()
        if self.away == "nothing":
            step = step.norm(dim=1, keepdim=True) * _directions(query, rng)
        far = query + self.reach * torch.rand((), generator=rng).to(query) * step
        return far if self.smooth is None else self.smooth(torch.cat([query, far], 1))


def _directions(like: Tensor, rng: torch.Generator) -> Tensor:
    """Unit vectors, uniform on the sphere."""
    return nn.functional.normalize(torch.randn(like.shape, generator=rng), dim=1).to(like)
