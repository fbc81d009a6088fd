"""Siamese augmentation: one change, drawn once, made alike to whatever it is applied to, with gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

KINDS = ("color", "crop", "cutout", "flip", "scale", "rotate")
Change = Callable[[Tensor], Tensor]
"""(B, C, H, W) → the same shape."""


def drawn_change(rng: torch.Generator) -> Change:
    """One of the six changes with its parameters, all equally likely, by the strengths of the paper.

    Color: brightness ±1/2, saturation 0 to 2, contrast 1/2 to 3/2; crop: a shift by up to 1/8 of the side;
    cutout: a square of half the side; flip: mirrored half of the time; scale: 1/1.2 to 1.2 along each axis;
    rotate: up to ±15°. For standardized pixels: what comes in from outside is 0, the mean. Zhao, Bilen 2021,
    "Dataset Condensation with Differentiable Siamese Augmentation", arXiv:2102.08259.
    """
    kind = KINDS[int(torch.randint(len(KINDS), (), generator=rng))]
    u: list[float] = torch.rand(3, generator=rng).tolist()
    if kind == "color":
        return lambda x: _colored(x, u)
    if kind == "cutout":
        return lambda x: _cut(x, u)
    turn = math.radians(15) * (2 * u[0] - 1)
    matrices = {
        "crop": [[1.0, 0.0, (2 * u[0] - 1) / 4], [0.0, 1.0, (2 * u[1] - 1) / 4]],  # the side is 2 long
        "flip": [[-1.0 if u[0] < 0.5 else 1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        "scale": [[_between(1 / 1.2, 1.2, u[0]), 0.0, 0.0], [0.0, _between(1 / 1.2, 1.2, u[1]), 0.0]],
        "rotate": [[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0]],
    }
    return lambda x: _moved(x, matrices[kind])


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _colored(x: Tensor, u: list[float]) -> Tensor:
    x = x + u[0] - 0.5
    gray = x.mean(1, keepdim=True)
    x = (x - gray) * 2 * u[1] + gray
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u[2] + 0.5) + mean


def _cut(x: Tensor, u: list[float]) -> Tensor:
    """Without a square around a place anywhere; near an edge less of it lies inside."""
    keep = torch.ones_like(x[:1, :1])
    spans = []
    for length, share in zip(x.shape[2:], u, strict=False):
        center, half = int(share * length), int(length / 2 + 0.5) // 2
        spans.append(slice(max(0, center - half), center + half))
    keep[..., spans[0], spans[1]] = 0
    return x * keep


def _moved(x: Tensor, matrix: list[list[float]]) -> Tensor:
    grid = affine_grid(x.new_tensor(matrix).expand(len(x), -1, -1), list(x.shape), align_corners=False)
    return grid_sample(x, grid, align_corners=False)
