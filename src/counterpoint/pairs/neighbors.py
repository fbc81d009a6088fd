"""Pairs by likeness: the nearest stored embeddings stand in for what belongs together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.pairs.search import search


@torch.no_grad()
def nearest(z: Tensor, bank: Tensor, k: int = 1, own: Tensor | None = None) -> Tensor:
    """Which rows of a bank are most like each embedding, by cosine; the nearest first.

    Dwibedi et al. 2021 (NNCLR), arXiv:2104.14548: ``bank[nearest(z, bank)[:, 0]]`` is the positive.

    Args:
        z: (N, D).
        bank: (M, D), M ≥ k.
        k: How many, ≥ 1.
        own: (N, M) bool, rows not to be found, e.g. earlier embeddings of the same sample; k others remain.

    Returns:
        (N, k) int64 rows of ``bank``; without a gradient.

    Raises:
        ValueError: the bank has fewer than ``k`` rows.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: expected 1 to {len(bank)}, the rows of the bank, found {k}")
    z, bank = normalize(z.float(), dim=1), normalize(bank.float(), dim=1)
    if own is None:
        return search(z, bank, k)[1]
    return (z @ bank.T).masked_fill(own, -torch.inf).topk(k, dim=1).indices


def neighbors(z: Tensor, bank: Tensor, k: int = 1, own: Tensor | None = None) -> Pairs:
    """The ``k`` nearest rows are positives, the others negatives, and ``own`` rows neither.

    Arguments as ``nearest``; masks of (N, M).
    """
    found = torch.zeros(len(z), len(bank), dtype=torch.bool, device=z.device)
    positive = found.scatter(1, nearest(z, bank, k, own), True)
    return Pairs(positive, ~positive if own is None else ~positive & ~own)
