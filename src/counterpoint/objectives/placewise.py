"""Placewise: places of one view's map are told from, or brought to, the same places of another view's map.

Maps come as rows, (B, P, D) and (B, Q, D): P and Q places of the same B samples. Only places of one sample
are compared. Xie et al. 2021, arXiv:2011.10043.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import anchor_mean, contrast
from counterpoint.objectives.precision import full_precision, wide


def place_cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of all places: (B, P, D), (B, Q, D) → (B, P, Q)."""
    with full_precision(a):
        return normalize(wide(a), dim=-1) @ normalize(wide(b), dim=-1).mT


def place_regression(prediction: Tensor, target: Tensor, positive: Tensor) -> Tensor:
    """``−cos(y_i, x'_j)``, mean over a sample's positive pairs (i, j), then over samples: PixPro, one way.

    The mean is over pairs, not over places: a sample counts the same whatever its views share. One whose
    views share nothing adds 0, and counts. The authors' code has twice this.

    Args:
        prediction: (B, P, D) of one view.
        target: (B, Q, D) of the other, detached by the caller.
        positive: (B, P, Q) mask.

    Returns:
        A scalar in [−1, 1].

    Raises:
        ValueError: the mask does not fit.
    """
    cosines = _fitting(place_cosines(prediction, target), positive)
    near = cosines.masked_fill(~positive, 0).sum((1, 2)) / positive.sum((1, 2)).clamp(min=1)
    return -near.sum() / max(len(near), 1)


def place_contrast(queries: Tensor, keys: Tensor, pairs: Pairs, temperature: float = 0.3) -> Tensor:
    """``−log( Σ_p exp(cos/τ) / Σ_{p or n} exp(cos/τ) )``, mean over places that have a positive: PixContrast.

    Args:
        queries: (B, P, D) of one view.
        keys: (B, Q, D) of the other.
        pairs: Masks of (B, P, Q).
        temperature: τ > 0.

    Returns:
        A scalar ≥ 0; 0 if no place has a positive.

    Raises:
        ValueError: the masks do not fit.
    """
    logits = _fitting(place_cosines(queries, keys), pairs.positive) / temperature
    # weights of 1: the core would average a mask
    return anchor_mean(
        contrast(logits, pairs.positive.to(logits), pairs.negative, inside=True), pairs.positive
    )


def _fitting(cosines: Tensor, positive: Tensor) -> Tensor:
    """The cosines; raises ``ValueError`` unless the mask has their shape."""
    if cosines.shape != positive.shape:
        raise ValueError(f"pairs: expected masks of {tuple(cosines.shape)}, found {tuple(positive.shape)}")
    return cosines
