"""Uniformity of centers: the means of a sample's views spread out, and no term pulls the views together.

A mean of unit vectors is long only where they agree, and only long ones get far apart: so views agree.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.contrastive import mse_logits, repel
from counterpoint.objectives.precision import full_precision, wide


def centers(z: Tensor) -> Tensor:
    """Mean over views of unit vectors, not brought to unit length again: (V, N, D) → (N, D).

    Raises:
        ValueError: not three axes.
    """
    if z.ndim != 3:
        raise ValueError(f"z: expected (V, N, D), found {tuple(z.shape)}")
    return normalize(wide(z), dim=-1).mean(0)


def decoupled_uniformity(means: Tensor, sharpness: float = 2.0, smoother: Tensor | None = None) -> Tensor:
    """``log( 2/(N(N−1)) Σ_{i<j} exp(−t ‖μ_i − μ_j‖²) )`` of the centers μ of N samples.

    Dufumier et al. 2023, arXiv:2206.01646: Decoupled Uniformity; with a smoother, Kernel Decoupled
    Uniformity, in which the conditional mean embedding ``μ̂ = A μ`` stands for μ.

    Args:
        means: (N, D) of ``centers``, of length ≤ 1. A pair with oneself does not count.
        sharpness: t > 0.
        smoother: A (N, N), e.g. of ``pairs.kernels.smoother``; a gradient does not reach it.

    Returns:
        A scalar in [−4t, 0] without a smoother; 0 for one sample.

    Raises:
        ValueError: a smoother of another shape.
    """
    means = wide(means)
    if smoother is not None:
        if smoother.shape != (len(means), len(means)):
            raise ValueError(f"smoother: expected {(len(means), len(means))}, found {tuple(smoother.shape)}")
        with full_precision(means):
            means = smoother.detach().to(means) @ means
    logits = mse_logits(means, means, 1 / (sharpness * means.shape[1]))  # −t ‖μ_i − μ_j‖²
    apart = torch.ones_like(logits, dtype=torch.bool).triu(1)
    return repel(logits.view(1, -1), apart.view(1, -1), average=True)[0]
