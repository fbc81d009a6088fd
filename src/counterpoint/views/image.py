"""Crops of images, changed in color and sharpness: the views of the joint-embedding methods.

``MultiCrop`` makes them from sets of ``Crops``; the sets of the papers stand in ``views.presets``. Everything
is drawn per sample, computed on the batch, and comes from the generator of the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch, View, Views
from counterpoint.views.color import blurred, grayed, jittered, solarized
from counterpoint.views.offcenter import off_center
from counterpoint.views.place import Placed, drawn_boxes, resampled


@dataclass(frozen=True, kw_only=True)
class Crops(Config):
    """A set of crops that are all drawn by one law."""

    count: int = 1
    """How many crops of every sample; 0 turns the set off."""
    size: int = 32
    """Side of a crop in pixels."""
    area: tuple[float, float] = (0.2, 1.0)
    """Smallest and largest share of the sample's area that a crop shows."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of what a crop shows."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How a crop is brought to its size; antialiased where it shrinks."""
    flip: float = 0.5
    """Share of crops that are mirrored left and right."""
    off_center: float = 0.0
    """Law of the crops' places, as of ``views.offcenter``: below 1 they avoid the middle; 0 for anywhere."""
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    """Largest change of brightness, contrast, saturation and hue (at most 0.5) at strength 1."""
    jittered: float = 0.8
    """Share of crops whose color is jittered."""
    strength: float = 0.5
    """One knob that scales the four amounts of jitter; 0 turns jitter off."""
    gray: float = 0.2
    """Share of color crops that are made gray."""
    blur: float = 0.0
    """Share of crops that are blurred."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest σ of the blur, in pixels of the crop."""
    solarize: float = 0.0
    """Share of crops whose bright values are inverted."""
    role: str = "global"
    """The part these views play."""

    def __post_init__(self) -> None:
        if self.count < 0 or self.size < 1:
            raise InputError(f"crops: expected count ≥ 0 and size ≥ 1, found {self.count} and {self.size}")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise InputError(f"crops.area: expected 0 < smallest ≤ largest ≤ 1, found {self.area}")
        if not self.off_center >= 0:
            raise InputError(f"crops.off_center: expected a number ≥ 0, found {self.off_center}")
        for name in ("ratio", "sigma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(f"crops.{name}: expected 0 < smallest ≤ largest, found {(low, high)}")
        for name in ("flip", "jittered", "gray", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"crops.{name}: expected a share in [0, 1], found {getattr(self, name)}")
        if min(self.amounts) < 0 or self.amounts[3] > 0.5:
            raise InputError(
                f"crops.jitter: expected no negative amount and a hue of at most 0.5, found {self.amounts} "
                f"at strength {self.strength}"
            )

    @property
    def amounts(self) -> tuple[float, float, float, float]:
        """The four amounts of jitter at this strength."""
        b, c, s, h = self.jitter
        return b * self.strength, c * self.strength, s * self.strength, h * self.strength


class MultiCrop:
    """Makes the crops of all sets, one view each, in the order of the sets.

    ``View.undo`` is a ``Placed``: it takes maps back into the sample's frame, NaN where the crop saw nothing;
    its ``box`` says where in the sample each crop lies.
    """

    def __init__(self, crops: tuple[Crops, ...], key: str = "image") -> None:
        """Say which crops, and of which entry of a batch; raises ``InputError`` if there are none."""
        if not any(c.count for c in crops):
            raise InputError("crops: expected at least one crop, found none")
        self.crops, self.key = crops, key

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """The views, (B, C, size, size) in [0, 1]; raises ``ValueError`` unless given (B, C, H, W) float."""
        x: Tensor = batch[self.key]
        if x.ndim != 4 or not x.is_floating_point():
            raise ValueError(f"{self.key}: expected (B, C, H, W) float, found {tuple(x.shape)} {x.dtype}")
        return tuple(
            self._view(x, batch["id"], crops, rng) for crops in self.crops for _ in range(crops.count)
        )

    def _view(self, x: Tensor, ids: Tensor, crops: Crops, rng: torch.Generator) -> View:
        frame, size = (x.shape[-2], x.shape[-1]), (crops.size, crops.size)
        box = drawn_boxes(len(x), frame, crops.area, crops.ratio, crops.flip, rng)
        if crops.off_center:
            box = off_center(box, crops.off_center, rng)
        box = box.to(x.device)
        x = resampled(x, box, size, cubic=crops.interpolation == "bicubic").clamp_(0, 1)
        x = jittered(x, crops.amounts, crops.jittered, rng)
        x = grayed(x, crops.gray, rng)
        x = blurred(x, crops.blur, crops.sigma, rng)
        return View(solarized(x, crops.solarize, rng), ids, crops.role, Placed(box, frame, size))


class AsIs:
    """Entries of a batch as they are, one view each; the entry's name is its role."""

    def __init__(self, keys: tuple[str, ...] = ("image",)) -> None:
        """Say which entries."""
        self.keys = keys

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:  # noqa: ARG002 -- a Viewer takes one
        """The views; nothing is drawn."""
        return tuple(View(batch[key], batch["id"], key) for key in self.keys)
