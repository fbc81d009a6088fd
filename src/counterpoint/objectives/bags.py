"""Bags of visual words: what an image is made of, as shares of words that local features are like."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.objectives.assignment import swapped
from counterpoint.objectives.precision import full_precision, wide


@torch.no_grad()
def word_distances(features: Tensor, words: Tensor) -> Tensor:
    """``‖f_p − v_k‖²``: (..., P, C) local features and (K, C) words → (..., P, K) in float32 at least."""
    with full_precision(features):
        return torch.cdist(wide(features), wide(words)).square()


@torch.no_grad()
def bag_of_words(distance: Tensor, scale: Tensor | float, sharpness: float = 10.0) -> Tensor:
    """``y_k ∝ max_p softmax_k(−sharpness · d_pk / scale)``: each word counts once, however often it occurs.

    Gidaris et al. 2021 (OBoW), arXiv:2012.11552, section 3.2. Divided by a running mean of the least
    distances, codes neither saturate nor flatten as features grow or shrink.

    Args:
        distance: (..., P, K) of ``word_distances``.
        scale: > 0, e.g. the mean over p of ``min_k d_pk``.
        sharpness: 1/δ > 0; 10 for ResNet-18 and 15 for ResNet-50 in the paper.

    Returns:
        (..., K) in float32 at least, sums to 1.
    """
    codes = (-sharpness * wide(distance) / scale).softmax(-1).amax(-2)
    return codes / codes.sum(-1, keepdim=True)


def bag_divergence(logits: Tensor, bags: Tensor) -> Tensor:
    """``KL(y ‖ softmax(o))``, mean over rows: how badly bags were foretold (OBoW, eq. 1 and 2).

    Args:
        logits: (..., K), any floating type.
        bags: (..., K), rows sum to 1; no gradient reaches them.

    Returns:
        A scalar ≥ 0, up to rounding.

    Raises:
        ValueError: the shapes differ.
    """
    bags = wide(bags.detach())
    return swapped(logits, bags, 1.0) - torch.special.entr(bags).sum() / max(bags.shape[:-1].numel(), 1)


def perplexity(bags: Tensor) -> tuple[Tensor, Tensor]:
    """Words in use: exp of the entropy of a bag, mean over (B, K) bags, and of their mean.

    Both are in [1, K]. The first at K, or the second at 1, says that targets have collapsed.
    """
    each, whole = (torch.special.entr(y).sum(-1).exp() for y in (wide(bags), wide(bags).mean(0)))
    return each.mean(), whole
