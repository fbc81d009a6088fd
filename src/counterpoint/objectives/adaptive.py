"""Temperatures of every pair: pairs that are hard to judge are judged softly, at a price.

Wang et al. 2024 (AMCL), arXiv:2310.05615. A pair's temperature plays the variance of a Gaussian over the
difference of two embeddings; ``price`` is what the normalizer of its likelihood asks for it. With
``contrastive.cosine_logits(z, z, temperature)`` and ``contrastive.decoupled`` that is their objective: no
positive stands among the negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.objectives.contrastive import align, anchor_mean
from counterpoint.objectives.precision import full_precision, wide


def pair_temperatures(codes: Tensor, low: float = 1e-5, high: float = 2.0) -> Tensor:
    """``τ_ab = low + (high − low) σ(⟨φ_a, φ_b⟩)``: (N, K) codes φ(z) → (N, N), each in [low, high].

    Raises:
        ValueError: bounds that are not 0 < low ≤ high.
    """
    if not 0 < low <= high:
        raise ValueError(f"low, high: expected 0 < low ≤ high, found {low} and {high}")
    codes = wide(codes)
    with full_precision(codes):
        return low + (high - low) * torch.sigmoid(codes @ codes.T)


def price(temperature: Tensor, dim: int) -> Tensor:
    """``Ω(τ) = (d/2) log τ + 1/τ`` of embeddings of d dimensions, elementwise; least at τ = 2/d."""
    temperature = wide(temperature)
    return dim / 2 * temperature.log() + 1 / temperature


def price_of_pairs(temperature: Tensor, positive: Tensor, hardest: Tensor, dim: int) -> Tensor:
    """``Ω(τ₊) − Ω(τ_n)``, mean over the anchors with a positive: the β-term of AMCL.

    The minus rewards negatives of extreme temperatures: with a large β, or bounds far apart, it wins over all
    else.

    Args:
        temperature: (N, M), > 0.
        positive: (N, M) mask; several positives of an anchor are averaged.
        hardest: (N, M) mask of the negatives n that count, one an anchor in the paper.
        dim: d of ``price``.

    Returns:
        A scalar.
    """
    costs = price(temperature, dim)
    return anchor_mean(align(costs, hardest) - align(costs, positive), positive)
