"""Spectral contrast: products in place of exponentials, whose optimum is a matrix factorization."""

from __future__ import annotations

from torch import Tensor

from counterpoint.objectives.precision import full_precision, wide


def spectral(a: Tensor, b: Tensor) -> Tensor:
    """``−2 mean_i ⟨a_i, b_i⟩ + mean_{i≠j} ⟨a_i, b_j⟩²``: the length of vectors counts.

    HaoChen et al. 2021, arXiv:2106.04156, eq. 6. Least where ``⟨a, b⟩`` is how much likelier two views are to
    be of one sample than by chance.

    Args:
        a: (N, D), one view; taken as it is.
        b: (N, D), the other.

    Returns:
        A scalar; may be < 0. One sample alone is repelled by nothing.

    Raises:
        ValueError: the shapes differ.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"a, b: expected two (N, D), found {tuple(a.shape)} and {tuple(b.shape)}")
    a, b, count = wide(a), wide(b), len(a)
    with full_precision(a):
        products = a @ b.T
    own = products.diagonal()
    apart = products.square().sum() - own.square().sum()
    return -2 * own.mean() + apart / max(count * (count - 1), 1)
