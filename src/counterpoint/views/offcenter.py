"""Crops whose centers keep away from the middle of the sample, so that two of them share less."""

from __future__ import annotations

import torch
from torch import Tensor

MIDDLE = (0.25, 0.75)
"""Where centers may lie, in shares of a side; less where a crop would leave the sample."""


def off_center(box: Tensor, law: float, rng: torch.Generator) -> Tensor:
    """Boxes of the same sides, each at a new place: its center at ``Beta(law, law)`` of the way it may go.

    Center-suppressed sampling of ContrastiveCrop (Peng et al. 2022, arXiv:2202.03278, section 3.3), with a
    fixed box in place of one found by the network's own activations.

    Args:
        box: (B, 4) of ``views.place``; a mirrored one stays mirrored.
        law: > 0; 1 is uniform, less is nearer to the ends.
        rng: Draws.

    Returns:
        (B, 4).
    """
    from scipy.special import betaincinv

    u = torch.rand(2, len(box), generator=rng, dtype=torch.float64)
    far = torch.from_numpy(betaincinv(law, law, u.numpy())).to(box)
    start, end = torch.minimum(box[:, :2], box[:, 2:]).T, torch.maximum(box[:, :2], box[:, 2:]).T
    side = end - start
    low = (MIDDLE[0] - side / 2).clamp(min=0)
    high = torch.minimum(MIDDLE[1] - side / 2, 1 - side)
    moved = low + (high - low) * far - start
    return box + moved.T.repeat(1, 2)
