"""Levels: an image at the pixel sizes of a pyramid, each with its exact place in physical space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Level:
    """Maps on a pixel grid of their own."""

    maps: Tensor
    """(C, H, W) float32; zero where the mask is zero."""
    mask: Tensor
    """(H, W) float32 in [0, 1]: how far a pixel counts."""
    matrix: np.ndarray
    """(3, 3) float64: pixel (x, y, 1) → physical."""

    @cached_property
    def weighted(self) -> Tensor:
        """(1, C + 1, H, W): maps times mask, and the mask: what can be interpolated and then divided."""
        return torch.cat((self.maps * self.mask, self.mask[None]))[None]


class Pyramid:
    """Maps of one image, averaged down to any coarser pixel size; levels are computed once."""

    def __init__(self, maps: Tensor, mask: Tensor, matrix: np.ndarray) -> None:
        """``maps`` (C, H, W) and ``mask`` (H, W), float32, on the grid whose pixels ``matrix`` places."""
        self.base = Level(maps * (mask > 0), mask, matrix)
        self._made: dict[tuple[int, int], Level] = {}

    def at(self, spacing: float) -> Level:
        """The level whose pixels are about ``spacing`` apart both ways, never finer than the base."""
        h, w = self.base.mask.shape
        sx, sy = np.linalg.norm(self.base.matrix[:2, :2], axis=0)
        spacing = max(spacing, sx, sy)  # square pixels: what turns with the image is read on them
        size = (min(h, max(8, round(h * sy / spacing))), min(w, max(8, round(w * sx / spacing))))
        if size not in self._made:
            self._made[size] = resized(self.base, size)
        return self._made[size]


def resized(level: Level, size: tuple[int, int]) -> Level:
    """``level`` averaged down to ``size`` (height, width); a pixel takes part as far as its mask says."""
    h, w = level.mask.shape
    if size == (h, w):
        return level
    small = F.interpolate(level.weighted, size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    mask = small[-1]
    maps = small[:-1] / mask.clamp_min(1e-6) * (mask > 0.05)
    fy, fx = h / size[0], w / size[1]
    # Pixel centers of the small grid, in pixels of the large one: (i + 0.5) f - 0.5.
    down = np.array([[fx, 0.0, (fx - 1) / 2], [0.0, fy, (fy - 1) / 2], [0.0, 0.0, 1.0]])
    return Level(maps, mask.clamp(0, 1) * (mask > 0.05), level.matrix @ down)
