"""Focal contrast: positives that are not yet found count more."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import anchor_mean, contrast, repel
from counterpoint.objectives.precision import wide


def focal(logits: Tensor, pairs: Pairs, over: Literal["positives", "all"] = "positives") -> Tensor:
    """``−(1/|P_i|) Σ_{j∈P_i} (1 − p_ij) log p_ij``, p the softmax, mean over the anchors with a positive.

    Zhang et al. 2021 (Core-tuning), arXiv:2102.06605, section 4.2; its authors do not stop the gradient of
    the weights. While p is small this is SupCon.

    Args:
        logits: (N, M), any floating type.
        pairs: Masks of (N, M).
        over: "positives" divides by |P_i|; "all" by M, as the released code does: |P_i|/M times as much.

    Returns:
        A scalar ≥ 0.
    """
    logits, near = wide(logits), pairs.positive
    others = near | pairs.negative
    shares = (logits - repel(logits, others)[:, None]).exp()
    count = near.sum(1, keepdim=True).clamp(min=1) if over == "positives" else near.shape[1]
    weights = near * (1 - shares) / count
    return anchor_mean(contrast(logits, weights, others), near)
