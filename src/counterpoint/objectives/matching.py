"""Gradient matching: how unlike two sets of gradients of one network are, direction by direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from counterpoint.objectives.precision import wide

SMALL = 1e-6
"""Added to products of lengths."""


def row_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Σ over weights and over their rows of ``1 − ⟨g, g′⟩ / (‖g‖ ‖g′‖ + 1e-6)``.

    A row is what leads to one output unit: of a linear weight (out, in), of a kernel (out, in, k, k) the last
    three axes together. Biases and gains, which have one axis, do not count. Zhao, Mopuri, Bilen 2021,
    "Dataset Condensation with Gradient Matching", equation 10.

    Args:
        one: Gradients by weight, in any order.
        other: Those of the same weights in that order.

    Returns:
        A scalar ≥ 0, differentiable in both.

    Raises:
        ValueError: gradients of unlike shapes.
    """
    if [g.shape for g in one] != [g.shape for g in other]:
        raise ValueError("row_distance: expected gradients of the same weights, found other shapes")
    parts = []
    for g, h in zip(one, other, strict=True):
        if g.ndim > 1:
            a, b = wide(g).flatten(1), wide(h).flatten(1)
            lengths = a.norm(dim=1) * b.norm(dim=1)
            parts.append((1 - (a * b).sum(1) / (lengths + SMALL)).sum())
    return torch.stack(parts).sum()
