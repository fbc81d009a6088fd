"""Harder pairs: weights and masks that let the difficult ones count, from logits that are larger where alike.

Nothing here has a gradient. Masks and weights go where an objective takes ``positive`` or ``negative``.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def harder(logits: Tensor, negative: Tensor, strength: float) -> Tensor:
    """Weights of the negatives in proportion to ``exp(strength · logit)``, with a mean of 1 over each row.

    Robinson et al. 2021, arXiv:2010.04592: importance of hard negatives.

    Args:
        logits: (N, M).
        negative: (N, M) mask.
        strength: β ≥ 0; 0 gives every negative the weight 1.

    Returns:
        (N, M) in float32 at least, 0 where there is no negative.
    """
    scaled = strength * logits.to(torch.promote_types(logits.dtype, torch.float32))
    shares = scaled.masked_fill(~negative, -torch.inf).softmax(1)
    # a row without negatives has no softmax
    return torch.where(negative, shares * negative.sum(1, keepdim=True), 0)


@torch.no_grad()
def hardest(logits: Tensor, negative: Tensor, count: int) -> Tensor:
    """Mask of each row's ``count`` negatives of the largest logits; of all of them where there are fewer.

    Args:
        logits: (N, M).
        negative: (N, M) mask.
        count: ≥ 0.

    Returns:
        (N, M) mask within ``negative``.
    """
    ranked = logits.masked_fill(~negative, -torch.inf).topk(min(count, logits.shape[1]), dim=1).indices
    return torch.zeros_like(negative).scatter(1, ranked, True) & negative


@torch.no_grad()
def ranked(logits: Tensor, negative: Tensor, count: int) -> Tensor:
    """Each row's ``count`` negatives of the largest logits, the hardest first; fewer where a row has fewer.

    Args:
        logits: (N, M).
        negative: (N, M) mask. What is not in it is never named: an own earlier embedding, say.
        count: ≥ 0.

    Returns:
        (N, H) int64 columns; H is the least of ``count`` and of the negatives of any row.
    """
    fewest = int(negative.sum(1).min()) if len(negative) else 0
    return logits.masked_fill(~negative, -torch.inf).topk(min(count, fewest), dim=1).indices


@torch.no_grad()
def semi_hard(logits: Tensor, negative: Tensor, pool: int, count: int, rng: torch.Generator) -> Tensor:
    """Mask of ``count`` negatives of each row, drawn at random from its ``pool`` hardest.

    Xie et al. 2022 (InterCLR), arXiv:2008.11702: the very hardest are often false negatives.

    Args:
        logits: (N, M).
        negative: (N, M) mask.
        pool: ≥ count.
        count: ≥ 0.
        rng: Draws.

    Returns:
        (N, M) mask within ``negative``.
    """
    chance = torch.rand(logits.shape, generator=rng).to(logits.device)
    return hardest(chance, hardest(logits, negative, pool), count)


@torch.no_grad()
def hardest_positive(logits: Tensor, positive: Tensor) -> Tensor:
    """Mask of each row's positive of the smallest logit: (N, M) within the mask ``positive``."""
    return hardest(-logits, positive, 1)


@torch.no_grad()
def far_positives(cosines: Tensor, sigma: float = 0.5) -> Tensor:
    """Weights above 1 for pairs that lie far apart: ``w_i = 2 − exp(c_i/σ) / mean_j exp(c_j/σ)``.

    The negative von Mises–Fisher weights of DCLW (Yeh et al. 2022, arXiv:2110.06848). Their mean is 1.
    One pair much nearer than all others gets a weight below 0, at least 2 − N.

    Args:
        cosines: (N,) similarity of every anchor with its positive, not divided by a temperature.
        sigma: > 0; large makes all weights 1.

    Returns:
        (N,) in float32 at least.
    """
    scaled = cosines.to(torch.promote_types(cosines.dtype, torch.float32)) / sigma
    return 2 - len(cosines) * scaled.softmax(0)
