"""Samples made across classes: features mixed within a class and between classes, and their labels alike.

Zhang et al. 2021 (Core-tuning), arXiv:2102.06605, section 4.2. A label is a row of shares (soft): (N, C).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.pairs.labels import same_class


@torch.no_grad()
def hard_sources(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each anchor's hardest positive and negative: least alike of its class, most alike of any other.

    Args:
        rows: (N, D), compared by cosine.
        labels: (N,) integers.

    Returns:
        Two (N,) int64 of rows; the anchor itself where there is no other of its class, or no other class.
    """
    unit = normalize(rows.float(), dim=1)
    with torch.autocast(unit.device.type, enabled=False):
        likeness = unit @ unit.T
    pairs, itself = same_class(labels), torch.arange(len(rows), device=rows.device)
    # infinite where they are not asked for: zeros would be least alike of all features that a ReLU has made
    near = likeness.masked_fill(~pairs.positive, torch.inf).argmin(1)
    far = likeness.masked_fill(~pairs.negative, -torch.inf).argmax(1)
    return tuple(
        torch.where(mask.any(1), found, itself)
        for mask, found in ((pairs.positive, near), (pairs.negative, far))
    )  # pyright: ignore[reportReturnType] -- of two


def blended(rows: Tensor, soft: Tensor, one: Tensor, other: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """``share · row one + (1 − share) · row other``, features and labels by the same shares.

    Args:
        rows: (N, D).
        soft: (N, C).
        one: (M,) rows.
        other: (M,) rows.
        share: (M,) in [0, 1].

    Returns:
        (M, D) and (M, C). Of one class the label stays to the last bit, so that ``same_soft`` knows it.
    """
    a, b = rows[one], rows[other]
    share = share[:, None]
    return torch.lerp(b, a, share.to(a)), torch.lerp(soft[other], soft[one], share.to(soft))


def same_soft(soft: Tensor) -> Pairs:
    """Rows of equal labels are positives, all others negatives: mixtures of two classes stand alone.

    Args:
        soft: (N, C).

    Returns:
        Masks of (N, N); the diagonal is in neither.
    """
    return same_class(soft.unique(dim=0, return_inverse=True)[1])
