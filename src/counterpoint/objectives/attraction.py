"""Attraction and repulsion: contrast within the positives and within the negatives, each set for itself.

Zheng et al. 2023 (CACR), arXiv:2105.03746. With the squared distance d of unit vectors, 2 − 2 cos, a query
is drawn to its positives, the farther ones more, and pushed from its negatives, the nearer ones more. There
is no softmax over both. Embeddings are (V, N, D): view v of sample n.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.contrastive import align
from counterpoint.objectives.precision import full_precision, wide


def attraction(z: Tensor, sharpness: float = 1.0, *, detach: bool = False) -> Tensor:
    """``mean_{x,i} Σ_k π⁺_ik d(z_ix, z_ik)``, π⁺ the softmax of ``t⁺ d`` over the other views k of sample i.

    L_CA of the paper. With two views the only positive has weight 1.

    Args:
        z: (V, N, D), V ≥ 2; brought to unit length.
        sharpness: t⁺ ≥ 0, of which more draws farther positives more; 0 is their mean.
        detach: No gradient through the weights; else the loss may also fall by shifting weight.

    Returns:
        A scalar in [0, 4].
    """
    u = _unit(z).transpose(0, 1)
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return _weighted(_distances(u, u), others, sharpness, detach).mean()


def repulsion(z: Tensor, sharpness: float = 0.9, *, detach: bool = False) -> Tensor:
    """``−mean_{x<y,i} Σ_{j≠i} π⁻_ij d(z_ix, z_jy)``, π⁻ the softmax of ``−t⁻ d`` over the other samples j.

    L_CR of the paper. Every pair of views (x, y) has distances of its own: the released
    code with a queue takes those of the first view for all. With ``detach`` the gradient is that of
    ``logsumexp(−t⁻ d) / t⁻``, the denominator of InfoNCE at τ = 1/(2t⁻). With ``sharpness`` 0 it does not
    keep samples from falling into two opposite clumps.

    Args:
        z: (V, N, D), V ≥ 2; brought to unit length.
        sharpness: t⁻ ≥ 0, of which more pushes nearer negatives more; 0 is their mean.
        detach: No gradient through the weights.

    Returns:
        A scalar in [−4, 0]; 0 for one sample.
    """
    others = ~torch.eye(z.shape[1], dtype=torch.bool, device=z.device)
    pairs = combinations(_unit(z), 2)
    return -torch.stack(
        [_weighted(_distances(x, y), others, -sharpness, detach).mean() for x, y in pairs]
    ).mean()


def _weighted(far: Tensor, among: Tensor, sharpness: float, detach: bool) -> Tensor:
    """(..., N, M) → (..., N): mean distance by softmax weights within the mask; 0 where it is empty."""
    scores = sharpness * (far.detach() if detach else far)
    nobody = ~among.any(-1, keepdim=True)  # whose softmax would not be a number
    weights = scores.masked_fill(~(among | nobody), -torch.inf).softmax(-1) * among
    return align(-far, weights)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """(..., N, D), (..., M, D) → (..., N, M) squared distances of unit vectors, in [0, 4]."""
    with full_precision(a):
        return 2 - 2 * a @ b.mT


def _unit(z: Tensor) -> Tensor:
    """Unit vectors in float32 at least; raises ``ValueError`` unless there are two views at least."""
    if z.ndim != 3 or len(z) < 2:
        raise ValueError(f"z: expected (V, N, D) with V ≥ 2, found {tuple(z.shape)}")
    return normalize(wide(z), dim=-1)
