"""Parts of an image that show the same in different ways: light and color, or coarse and fine."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from counterpoint.core.errors import InputError

PARTS = 3
"""How many ``parted`` returns; the last is the image itself."""
WINDOW = 5
"""Side in pixels of the mean that is the coarse part."""


def parted(x: Tensor, split: Literal["lab", "bands"]) -> tuple[Tensor, Tensor, Tensor]:
    """Two parts of images and the images themselves, all of one shape.

    "lab": lightness, and the two channels of color, of CIE L*a*b* (CMC, Tian et al. 2020, arXiv:1906.05849);
    channels that a part has not are 0. "bands": a mean over a window, and what it leaves out.

    Args:
        x: (B, C, H, W) in [0, 1]; "lab" takes RGB.
        split: How to divide.

    Raises:
        InputError: "lab" of images that have no color.
    """
    if split == "bands":
        coarse = avg_pool2d(x, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
        return coarse, (x - coarse + 1) / 2, x
    if x.shape[1] != 3:
        raise InputError(f"split: lab expects images of 3 channels, found {x.shape[1]}; bands takes any")
    from kornia.color import rgb_to_lab

    lightness, color = rgb_to_lab(x.float()).to(x).split([1, 2], 1)
    none = torch.zeros_like(lightness)
    first = torch.cat([lightness / 100, none, none], 1)
    return first, torch.cat([none, (color + 128) / 255], 1), x
