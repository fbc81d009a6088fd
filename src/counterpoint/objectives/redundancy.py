"""Redundancy: no negatives, but no two dimensions of the embedding may say the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from counterpoint.objectives.precision import full_precision, wide


def cross_correlation(a: Tensor, b: Tensor, eps: float = 1e-5) -> Tensor:
    """Correlation of every dimension of one view with every dimension of the other, over the batch.

    Args:
        a: (N, D).
        b: (N, D), the same samples.
        eps: Added to the variances (of the batch, divided by N, as batch normalization has them).

    Returns:
        (D, D) in [−1, 1]; 0 for a dimension that does not vary.

    Raises:
        ValueError: the shapes are not (N, D) or differ.
    """
    a, b = _checked(a, b)
    with full_precision(a):
        a, b = (x * (x.square().mean(0) + eps).rsqrt() for x in (_centered(a), _centered(b)))
        return a.T @ b / max(len(a), 1)


def barlow(a: Tensor, b: Tensor, off_diagonal: float = 0.0051) -> Tensor:
    """Cross-correlation C to the identity: ``Σ_i (1 − C_ii)² + λ Σ_{i≠j} C_ij²``.

    Zbontar et al. 2021, arXiv:2103.03230, eq. 1 and 2.

    Args:
        a: (N, D), not normalized; D matters: the best λ falls as 1/D.
        b: (N, D), the same samples.
        off_diagonal: λ, ≥ 0.

    Returns:
        A scalar ≥ 0.
    """
    c = cross_correlation(a, b)
    return (1 - c.diagonal()).square().sum() + off_diagonal * _off_diagonal(c)


def invariance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of two views, (N, D) each, over N and D."""
    a, b = _checked(a, b)
    return mse_loss(a, b)


def variance(z: Tensor, target: float = 1.0, eps: float = 1e-4) -> Tensor:
    """How far standard deviations stay below a target: ``(1/D) Σ_j max(0, target − √(Var z_j + eps))``.

    Args:
        z: (N, D), not normalized; variances are divided by N − 1.
        target: > 0.
        eps: Keeps the gradient of the root finite.

    Returns:
        A scalar in [0, target].
    """
    z = _centered(wide(z))
    spread = (z.square().sum(0) / max(len(z) - 1, 1) + eps).sqrt()
    return (target - spread).relu().mean()


def covariance(z: Tensor) -> Tensor:
    """Covariance between dimensions: ``(1/D) Σ_{i≠j} Cov(z)_ij²`` of (N, D), Cov divided by N − 1."""
    z = _centered(wide(z))
    with full_precision(z):
        return _off_diagonal(z.T @ z / max(len(z) - 1, 1)) / z.shape[1]


def vicreg(a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Invariance, variance (mean of both views) and covariance (sum of both views), unweighted.

    Bardes, Ponce, LeCun 2022, arXiv:2105.04906, eq. 1 to 6, with the mean of the two variance terms as in the
    authors' code; their weights are 25, 25 and 1.

    Args:
        a: (N, D), not normalized.
        b: (N, D), the same samples.

    Returns:
        Three scalars ≥ 0, named "invariance", "variance", "covariance".
    """
    return {
        "invariance": invariance(a, b),
        "variance": (variance(a) + variance(b)) / 2,
        "covariance": covariance(a) + covariance(b),
    }


def _centered(z: Tensor) -> Tensor:
    return z - z.mean(0)


def _off_diagonal(square: Tensor) -> Tensor:
    """Sum of the squares off the diagonal of (D, D)."""
    diagonal = torch.eye(len(square), dtype=torch.bool, device=square.device)
    return square.masked_fill(diagonal, 0).square().sum()


def _checked(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"a, b: expected (N, D) twice, found {tuple(a.shape)} and {tuple(b.shape)}")
    return wide(a), wide(b)
