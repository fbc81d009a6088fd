"""Pairs by identity: renditions of one sample belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.types import Pairs


def same_sample(anchor_ids: Tensor, other_ids: Tensor | None = None) -> Pairs:
    """Equal ids are positives, all others negatives.

    Args:
        anchor_ids: (N,) integers.
        other_ids: (M,) integers; without it the anchors are compared with themselves, and nobody is his own
            positive or negative (the diagonal is in neither mask).

    Returns:
        Masks of (N, M), or (N, N) without ``other_ids``.
    """
    others = anchor_ids if other_ids is None else other_ids
    positive = anchor_ids[:, None] == others[None, :]
    negative = ~positive  # the diagonal is not in it: an id equals itself
    if other_ids is None:
        positive = positive & ~torch.eye(len(anchor_ids), dtype=torch.bool, device=anchor_ids.device)
    return Pairs(positive, negative)
