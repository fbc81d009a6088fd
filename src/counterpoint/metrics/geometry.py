"""How embeddings lie in their space: whether they collapse, and how evenly they fill it.

All measures take (N, D) tensors, compute in double precision and read nothing but their arguments.
``by_position`` and ``by_sample`` make such tensors of maps: what collapses along positions may still look
healthy in the average, and the other way round, so a layer of maps is asked both ways.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError

BLOCK = 2**22
"""Distances held at a time."""


def by_position(z: Tensor) -> Tensor:
    """Every position of every sample is a row: (B, D, H, W) → (B·H·W, D), tokens (B, T, D) → (B·T, D).

    (B, D) stays as it is.

    Raises:
        InputError: another shape.
    """
    return _maps_last(z).flatten(0, -2)


def by_sample(z: Tensor) -> Tensor:
    """The average over the positions of a sample is a row: (B, D, H, W) or (B, T, D) → (B, D).

    (B, D) stays as it is.

    Raises:
        InputError: another shape.
    """
    return _maps_last(z).flatten(1, -2).mean(1) if z.ndim > 2 else _maps_last(z)


def spectrum(z: Tensor, *, center: bool = True) -> Tensor:
    """Singular values of (N, D) embeddings, N ≥ 1: (min(N, D),) float64, largest first.

    ``center`` takes the mean row off first; then they are √N times the square roots of the eigenvalues of the
    covariance. Values that rounding alone explains are 0, so that equal rows have an empty spectrum. Source:
    Jing et al. 2022, "Understanding dimensional collapse in contrastive self-supervised learning".

    Raises:
        InputError: not (N, D), empty, or not finite.
    """
    rows = _rows(z)
    scale = torch.linalg.matrix_norm(rows)
    values = torch.linalg.svdvals(rows - rows.mean(0) if center else rows)
    eps = torch.finfo(z.dtype if z.is_floating_point() else torch.float64).eps
    return torch.where(values > eps * max(rows.shape) ** 0.5 * scale, values, 0.0)


def effective_rank(z: Tensor) -> float:
    """Exp of the entropy of the normalized singular values of the centered rows, in [1, min(N, D)].

    0 if all rows are equal. Source: Roy & Vetterli 2007, "The effective rank", eq. 4 to 6.
    """
    return _entropy_rank(spectrum(z))


def rankme(z: Tensor) -> float:
    """The same of the rows as they are, not centered: equal rows have rank 1, only zeros have 0.

    Source: Garrido et al. 2023, "RankMe", eq. 3, without its ε, of which ``spectrum`` relieves.
    """
    return _entropy_rank(spectrum(z, center=False))


def numerical_rank(z: Tensor, share: float = 1e-4) -> int:
    """How many singular values of the centered rows exceed ``share`` of the largest, in [0, min(N, D)].

    Divided by D it is the share of the directions alive, in whatever basis; ``alive`` counts coordinates. 0
    if all rows are equal. Source: Jing et al. 2022, figure 2: spectra fall by decades where they collapse.
    """
    values = spectrum(z)
    return int((values > share * values[0]).sum())


def alive(z: Tensor, share: float = 0.01) -> float:
    """Share of the dimensions, in [0, 1], whose deviation exceeds ``share`` of the RMS of all values."""
    rows = _rows(z)
    rms = rows.square().mean().sqrt()
    return float((rows.std(0, correction=0) > share * rms).double().mean())


def spread(z: Tensor) -> float:
    """√D times the mean deviation of the D values of rows on the unit sphere, in [0, 1].

    1 if the rows lie around the origin alike in all directions, 0 if all have one direction (complete
    collapse). Says nothing where D = 1. Source: Chen & He 2021, "Exploring simple Siamese representation
    learning", section 4.1: the deviation is 1/√D for isotropic rows.
    """
    rows = normalize(_rows(z), dim=1)
    return float(rows.std(0, correction=0).mean()) * rows.shape[1] ** 0.5


def alignment(x: Tensor, y: Tensor, power: float = 2.0) -> float:
    """Mean distance to a power, in [0, 2^power], of two views of the same things on the unit sphere.

    ``x``, ``y``: (N, D), row by row the same thing; lower is closer.

    Source: Wang & Isola 2020, "Understanding contrastive representation learning through alignment and
    uniformity", eq. 4.

    Raises:
        InputError: shapes that differ.
    """
    if x.shape != y.shape:
        raise InputError(
            f"alignment: expected two (N, D) of one shape, found {tuple(x.shape)} and {tuple(y.shape)}"
        )
    apart = normalize(_rows(x), dim=1) - normalize(_rows(y), dim=1)
    return float(apart.norm(dim=1).pow(power).mean())


def uniformity(z: Tensor, sharpness: float = 2.0) -> float:
    """Log mean exp(−t·‖a − b‖²) over all pairs of rows on the unit sphere, in [−4t, 0]; lower is more even.

    0 if all rows have one direction. N ≥ 2; memory grows with N, not N². Source: Wang & Isola 2020, eq. 5,
    with t = ``sharpness``.

    Raises:
        InputError: fewer than two rows.
    """
    rows = normalize(_rows(z), dim=1)
    count = len(rows)
    if count < 2:
        raise InputError(f"uniformity: expected at least two rows, found {count}")
    total = []
    for start in range(0, count, step := max(1, BLOCK // count)):
        closeness = -2 * sharpness * (1 - rows[start : start + step] @ rows.T)
        closeness.diagonal(start).fill_(-torch.inf)  # a row is no pair with itself
        total.append(closeness.flatten().logsumexp(0))
    return float(torch.stack(total).logsumexp(0)) - math.log(count * (count - 1))


def _maps_last(z: Tensor) -> Tensor:
    """The D values of a position in the last dimension."""
    if z.ndim not in (2, 3, 4):
        raise InputError(f"features: expected (B, D), (B, T, D) or (B, D, H, W), found {tuple(z.shape)}")
    return z.movedim(1, -1) if z.ndim == 4 else z


def _entropy_rank(values: Tensor) -> float:
    if not values.any():
        return 0.0
    p = values / values.sum()
    return float(torch.special.entr(p).sum().exp())


def _rows(z: Tensor) -> Tensor:
    if z.ndim != 2 or z.numel() == 0:
        raise InputError(f"embeddings: expected (N, D), N and D at least 1, found {tuple(z.shape)}")
    rows = z.detach().double()
    if not rows.isfinite().all():
        raise InputError("embeddings: expected finite numbers, found others")
    return rows
