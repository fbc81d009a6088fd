"""Pairs by place: what two views show of the same spot belongs together."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.types import Pairs


def cell_places(boxes: Tensor, height: int, width: int) -> Tensor:
    """Where the cells of a view's map lie in its sample: the centers of equal cells of its box.

    Xie et al. 2021 (PixPro), arXiv:2011.10043.

    Args:
        boxes: (B, 4): left, top, right, bottom of each view in its sample, in any unit; left > right is a
            view that was mirrored.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        (B, height·width, 2): places (x, y), row by row.
    """
    left, top, right, bottom = (side[:, None, None] for side in boxes.unbind(1))
    down = (torch.arange(height, device=boxes.device)[:, None] + 0.5) / height
    across = (torch.arange(width, device=boxes.device)[None, :] + 0.5) / width
    x = (left + across * (right - left)).expand(-1, height, -1)
    y = (top + down * (bottom - top)).expand(-1, -1, width)
    return torch.stack([x, y], -1).flatten(1, 2)


def same_place(a: Tensor, b: Tensor, radius: float | Tensor, outside: float | Tensor | None = None) -> Pairs:
    """Places of two views within a radius are positives, those farther apart than ``outside`` negatives.

    PixPro (arXiv:2011.10043) takes 0.7 of the larger view's cell diagonal as the radius. Leading axes
    are kept apart: only places of the same sample are compared.

    Args:
        a: (..., P, 2) places (x, y); not a number where a view shows nothing of the sample: in no pair.
        b: (..., Q, 2).
        radius: In units of the places, ≥ 0; a tensor that broadcasts to (..., P, Q) for one a sample.
        outside: ≥ radius, which it is without it; what lies between the two is in no pair.

    Returns:
        Masks of (..., P, Q).
    """
    apart = (a[..., :, None, :] - b[..., None, :, :]).square().sum(-1).sqrt()
    return Pairs(apart <= radius, apart > (radius if outside is None else outside))
