"""Heads of maps: a perceptron at every pixel, and ways from a map to the rows that objectives compare."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.core.errors import InputError


def dense(in_dim: int, hidden: int, out_dim: int, layers: int = 2, norm: bool = True) -> nn.Sequential:
    """The same perceptron at every pixel, as 1×1 convolutions: (B, in_dim, H, W) → (B, out_dim, H, W).

    Args:
        in_dim: Channels of the map that comes in.
        hidden: Channels between.
        out_dim: Channels of the embedding.
        layers: How many convolutions; 1 is linear, and ``hidden`` is then not used.
        norm: Batch normalization after each convolution but the last.

    Raises:
        InputError: a width or ``layers`` is less than 1.
    """
    if min(in_dim, hidden, out_dim, layers) < 1:
        raise InputError(
            f"dense: expected positive widths and layers, found {in_dim}, {hidden}, {out_dim}, {layers}"
        )
    head = nn.Sequential()
    widths = [in_dim, *[hidden] * (layers - 1)]
    for before, after in pairwise(widths):
        head.append(nn.Conv2d(before, after, 1, bias=not norm))
        if norm:
            head.append(nn.BatchNorm2d(after))
        head.append(nn.ReLU(inplace=True))
    head.append(nn.Conv2d(widths[-1], out_dim, 1))
    return head


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """The values of maps at points, bilinearly: (B, C, H, W) and (B, P, 2) → (B, P, C).

    Args:
        maps: (B, C, H, W).
        points: (B, P, 2), (x, y) in pixels of the maps, whose centers are integers; a point outside the
            pixel centers reads the nearest of them.
    """
    size = points.new_tensor([maps.shape[-1], maps.shape[-2]])
    grid = ((2 * points + 1) / size - 1).to(maps.dtype)
    read = F.grid_sample(maps, grid[:, :, None], padding_mode="border", align_corners=False)
    return read[..., 0].mT


def under_masks(maps: Tensor, masks: Tensor) -> Tensor:
    """The mean of maps under masks: (B, C, H, W) and (B, K, H, W) → (B, K, C); 0 under an empty mask.

    Args:
        maps: (B, C, H, W).
        masks: (B, K, H, W), bool or weights ≥ 0.
    """
    weight = masks.to(maps.dtype)
    summed = torch.einsum("bchw,bkhw->bkc", maps, weight)
    total = weight.sum((2, 3))[..., None]
    return summed / total.where(total > 0, 1)
