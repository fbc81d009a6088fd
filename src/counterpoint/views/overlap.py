"""Crops that share a part of their sample, and maps of both brought onto that part.

Boxes are those of ``views.place``: (x0, y0, x1, y1) in shares of the sample's sides, x0 > x1 if mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch, View, Views
from counterpoint.views.color import blurred, grayed, jittered, solarized
from counterpoint.views.image import Crops
from counterpoint.views.place import TRIES, Placed, drawn_boxes, resampled
from counterpoint.views.presets import BYOLCrops


def box_of(view: View) -> Tensor:
    """(B, 4) where in its sample each crop lies; raises ``ValueError`` for a view that is no crop."""
    if not isinstance(view.undo, Placed):
        raise ValueError(f"view {view.role!r}: expected a crop, which says where it lies, found another view")
    return view.undo.box


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What two boxes share: (B, 4) upright boxes, and (B,) their share of the area of ``b``.

    Where boxes share nothing the share is 0 and the box is that of ``b``, so that nothing is divided by 0.
    """
    one, two = upright(a), upright(b)
    low, high = torch.maximum(one[:, :2], two[:, :2]), torch.minimum(one[:, 2:], two[:, 2:])
    sides = (high - low).clamp(min=0)
    share = sides.prod(1) / (two[:, 2:] - two[:, :2]).prod(1)
    return torch.where(share[:, None] > 0, torch.cat([low, high], 1), two), share


def upright(box: Tensor) -> Tensor:
    """Boxes (B, 4) without mirroring."""
    return torch.cat([torch.minimum(box[:, :2], box[:, 2:]), torch.maximum(box[:, :2], box[:, 2:])], 1)


def cut(maps: Tensor, box: Tensor, part: Tensor) -> Tensor:
    """Maps of crops on a part of their sample, upright, at their own resolution.

    A crop that was mirrored is mirrored back. Bilinear, antialiased where it shrinks, with gradients: nearly
    what RoIAlign and a flip do.

    Args:
        maps: (B, C, h, w) of the crops.
        box: (B, 4) where the crops lie.
        part: (B, 4) the part of the sample; within ``box``.

    Returns:
        (B, C, h, w).
    """
    low, span = box[:, :2].repeat(1, 2), (box[:, 2:] - box[:, :2]).repeat(1, 2)
    return resampled(maps, (part - low) / span, (maps.shape[-2], maps.shape[-1]))


class OverlappingCrops:
    """Two crops; the second is drawn anew until it shares enough with the first, up to ten times.

    The last draw stands if none shares enough: whoever compares them must see whether they overlap.
    """

    def __init__(self, crops: tuple[Crops, Crops], least: float = 0.01, key: str = "image") -> None:
        """Say how each is made, and what share of the second crop's area must be shared.

        Raises:
            InputError: a share outside [0, 1].
        """
        if not 0 <= least <= 1:
            raise InputError(f"least: expected a share in [0, 1], found {least}")
        self.crops, self.least, self.key = crops, least, key

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """(first, second), (B, C, size, size) in [0, 1]."""
        x: Tensor = batch[self.key]
        frame = (x.shape[-2], x.shape[-1])
        first, second = (self._drawn(crops, len(x), frame, rng) for crops in self.crops)
        for _ in range(TRIES - 1):
            enough = overlap(first, second)[1] >= self.least
            second = torch.where(enough[:, None], second, self._drawn(self.crops[1], len(x), frame, rng))
        boxes = zip(self.crops, (first, second), strict=True)
        return tuple(self._shown(x, batch["id"], crops, box.to(x.device), rng) for crops, box in boxes)

    @staticmethod
    def _drawn(crops: Crops, count: int, frame: tuple[int, int], rng: torch.Generator) -> Tensor:
        return drawn_boxes(count, frame, crops.area, crops.ratio, crops.flip, rng)

    @staticmethod
    def _shown(x: Tensor, ids: Tensor, crops: Crops, box: Tensor, rng: torch.Generator) -> View:
        size = (crops.size, crops.size)
        crop = resampled(x, box, size, cubic=crops.interpolation == "bicubic").clamp_(0, 1)
        crop = grayed(jittered(crop, crops.amounts, crops.jittered, rng), crops.gray, rng)
        crop = solarized(blurred(crop, crops.blur, crops.sigma, rng), crops.solarize, rng)
        return View(crop, ids, crops.role, Placed(box, (x.shape[-2], x.shape[-1]), size))


@dataclass(frozen=True, kw_only=True)
class SlotConCrops(Config):
    """SlotCon's two crops: BYOL's, which overlap (Wen et al. 2022, arXiv:2205.15288)."""

    size: int = 32
    """Side of a crop in pixels."""
    strength: float = 1.0
    """How strongly colors are jittered; 0 turns jitter off."""
    flip: float = 0.5
    """Share of crops that are mirrored left and right; 0 where sides matter: digits, text, organs."""
    blur: tuple[float, float] = (0.0, 0.0)
    """Share of first and of second crops that are blurred; (1, 0.1) in the paper, for 224 pixels."""
    least: float = 0.01
    """Least share of the second crop's area that the first must show, if it can be had in ten draws."""

    def build(self) -> OverlappingCrops:
        """The viewer; raises ``InputError`` for a setting out of its range."""
        two = BYOLCrops(size=self.size, strength=self.strength, flip=self.flip, blur=self.blur)
        first, second = two.crops()
        return OverlappingCrops((first, second), self.least)
