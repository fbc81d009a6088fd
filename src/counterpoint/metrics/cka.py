"""Centered kernel alignment: how alike two representations of the same samples are, whatever their widths.

Blind to rotations and to a common scale, so that layers, runs and networks can be compared. Linear kernels,
in double precision.
"""

from __future__ import annotations

from torch import Tensor

from counterpoint.core.errors import InputError


def linear_cka(x: Tensor, y: Tensor, *, debiased: bool = False) -> float:
    """Linear CKA of ``x`` (N, D1) and ``y`` (N, D2), row by row the same samples.

    The plain one, in [0, 1], is ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖) of centered columns (Kornblith et al. 2019,
    "Similarity of neural network representations revisited"). It grows towards 1 where there are few samples
    for the dimensions, even of unrelated representations. The debiased one has the unbiased estimator of HSIC
    in its place (Song et al. 2012, "Feature selection via dependence maximization"; Nguyen et al. 2021, "Do
    wide and deep networks learn the same things?"): at most 1, and around 0, also below, for unrelated ones;
    N ≥ 4.

    Returns nan where a representation is constant.

    Raises:
        InputError: not two tables of the same number of rows, too few rows, or numbers that are not finite.
    """
    x, y = _centered(x, y, 4 if debiased else 2)
    hsic = _unbiased if debiased else _cross
    own = hsic(x, x) * hsic(y, y)
    return float(hsic(x, y) / own.sqrt()) if own > 0 else float("nan")


def _cross(x: Tensor, y: Tensor) -> Tensor:
    """‖Yᵀ X‖² = Σ (X Xᵀ ∘ Y Yᵀ), by whichever of the two tables is smaller."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return (y.T @ x).square().sum()
    return ((x @ x.T) * (y @ y.T)).sum()


def _unbiased(x: Tensor, y: Tensor) -> Tensor:
    """n(n − 3) times the unbiased HSIC of linear kernels K, L with empty diagonals, without making them.

    tr(K L) + (1ᵀ K 1)(1ᵀ L 1) / ((n − 1)(n − 2)) − 2 (1ᵀ K L 1) / (n − 2).
    """
    n = len(x)
    diagonals = [v.square().sum(1) for v in (x, y)]
    rows = [v @ v.sum(0) - d for v, d in zip((x, y), diagonals, strict=True)]  # K 1 and L 1
    trace = _cross(x, y) - (diagonals[0] * diagonals[1]).sum()
    return trace + rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2)) - 2 * (rows[0] @ rows[1]) / (n - 2)


def _centered(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (*x.shape, *y.shape):
        raise InputError(f"cka: expected (N, D1) and (N, D2), found {tuple(x.shape)} and {tuple(y.shape)}")
    if len(x) < least:
        raise InputError(f"cka: expected at least {least} samples, found {len(x)}")
    both = x.detach().double(), y.detach().double()
    if not all(v.isfinite().all() for v in both):
        raise InputError("cka: expected finite numbers, found others")
    # The debiased one does not change by it either, but loses fewer digits.
    return both[0] - both[0].mean(0), both[1] - both[1].mean(0)
