"""Negatives drawn from many: at random, the hardest, or at random from the harder or the easier ones."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from counterpoint.pairs.hard import hardest, semi_hard

Kind = Literal["semi_hard", "hard", "random", "semi_easy"]


def drawn(
    logits: Tensor, negative: Tensor, kind: Kind, pool: int, count: int, rng: torch.Generator
) -> Tensor:
    """Mask of ``count`` negatives of each row; of all of them where there are fewer.

    The sampling strategies compared by Xie et al. 2022 (InterCLR), arXiv:2008.11702, section 3.3. The very
    hardest of many are often of the anchor's own class.

    Args:
        logits: (N, M), larger is more alike.
        negative: (N, M) mask.
        kind: "hard" takes those of the largest logits, "random" any, "semi_hard" any of the ``pool`` largest,
            "semi_easy" any of the ``pool`` smallest.
        pool: A small share of M; as many as M would be "random".
        count: ≥ 0.
        rng: Draws, but for "hard".

    Returns:
        (N, M) mask within ``negative``.
    """
    if kind == "hard":
        return hardest(logits, negative, count)
    if kind == "random":
        return semi_hard(logits, negative, logits.shape[1], count, rng)
    return semi_hard(logits if kind == "semi_hard" else -logits, negative, pool, count, rng)
