"""Pairs by label: samples of one class belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.types import Pairs


def same_class(a_labels: Tensor, b_labels: Tensor | None = None) -> Pairs:
    """Equal labels are positives, different ones negatives; who has no label is in no pair.

    Khosla et al. 2020 (SupCon), arXiv:2004.11362, section 3.2.2.

    Args:
        a_labels: (N,) integers; below 0 is "unknown".
        b_labels: (M,) integers; without it the anchors are compared with themselves, and nobody is his own
            positive or negative (the diagonal is in neither mask).

    Returns:
        Masks of (N, M), or (N, N) without ``b_labels``.

    Raises:
        ValueError: labels that are not one integer a sample.
    """
    others = a_labels if b_labels is None else b_labels
    for labels in (a_labels, others):
        if labels.ndim != 1 or labels.is_floating_point():
            raise ValueError(f"labels: expected (N,) integers, found {labels.dtype} {tuple(labels.shape)}")
    known = (a_labels >= 0)[:, None] & (others >= 0)[None, :]
    equal = a_labels[:, None] == others[None, :]
    positive = known & equal
    if b_labels is None:
        positive = positive & ~torch.eye(len(a_labels), dtype=torch.bool, device=a_labels.device)
    return Pairs(positive, known & ~equal)
