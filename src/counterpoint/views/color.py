"""Changes of color on batches (B, C, H, W) in [0, 1]: every sample its own, drawn from the given generator.

Each function draws the same amount of randomness whatever its settings, so that switching one change off
leaves the others as they were. Images of other than three channels have no color: their brightness and
contrast change, their hue and saturation do not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def jittered(
    x: Tensor, amounts: tuple[float, float, float, float], share: float, rng: torch.Generator
) -> Tensor:
    """Brightness, contrast, saturation and hue changed, in an order drawn for each sample.

    Brightness b multiplies by a factor uniform in [max(0, 1 - b), 1 + b]; contrast and saturation do so with
    the distance to the mean and to gray; hue h turns by up to ±h of a full turn. Each is clipped to [0, 1].
    (Howard, arXiv:1312.5402; SimCLR, arXiv:2002.05709, appendix A.)

    Args:
        x: (B, C, H, W).
        amounts: Of the four, ≥ 0; hue at most 0.5.
        share: Of samples that are changed, in [0, 1].
        rng: Where all randomness comes from.
    """
    from kornia.enhance import (
        adjust_brightness_accumulative,
        adjust_contrast_with_mean_subtraction,
        adjust_saturation_with_gray_subtraction,
    )

    changes = (
        adjust_brightness_accumulative,
        adjust_contrast_with_mean_subtraction,
        adjust_saturation_with_gray_subtraction,
        turned_hue,
    )
    *scaled, turn = amounts
    low = torch.tensor([*(max(0.0, 1 - a) for a in scaled), -turn])
    high = torch.tensor([*(1 + a for a in scaled), turn])
    chosen = torch.rand(len(x), generator=rng) < share
    factor = low + (high - low) * torch.rand(len(x), 4, generator=rng)
    order = torch.rand(len(x), 4, generator=rng).argsort(1)
    x = x.clone()
    for place in range(4):
        for i, change in enumerate(changes if x.shape[1] == 3 else changes[:2]):
            rows = _rows(chosen & (order[:, place] == i), x)
            if amounts[i] and len(rows):
                changed = change(x.index_select(0, rows), factor[rows.cpu(), i].to(x))
                x.index_copy_(0, rows, changed)
    return x


def turned_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Hue turned in HSV, of (B, 3, H, W) by (B,) full turns; lightness and saturation stay.

    What ``kornia.enhance.adjust_hue`` does, several times as fast, for HSV itself is never made: with V the
    largest of the channels and d their range, the turned color is V - d·clip(min(k, 4 - k), 0, 1) where
    k = (n + 6·hue) mod 6, and n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = x.unbind(1)
    top = x.amax(1)
    span = top - x.amin(1)
    # Products with 0 and 1 are exact, and much faster here than torch.where; so is what stands for %.
    is_red = (top == red).to(x.dtype)
    is_green = (top == green).to(x.dtype).mul_(1 - is_red)
    is_blue = 1 - is_red - is_green
    sixths = (green - blue).mul_(is_red)
    sixths += (blue - red).add_(span, alpha=2).mul_(is_green)
    sixths += (red - green).add_(span, alpha=4).mul_(is_blue)
    sixths = sixths.div_(span.clamp(min=1e-12)).add_(6 * turns.view(-1, 1, 1))
    out = torch.empty_like(x)
    for channel, n in enumerate((5, 3, 1)):
        k = sixths + n
        k.sub_((k / 6).floor_(), alpha=6)
        out[:, channel] = top - torch.minimum(k, 4 - k).clamp_(0, 1).mul_(span)
    return out


def grayed(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A share of the samples made gray, (B, 3, H, W) of three equal channels; other C as they are."""
    rows = _rows(torch.rand(len(x), generator=rng) < share, x)
    if not len(rows) or x.shape[1] != 3:
        return x
    x = x.clone()
    weights = x.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    x[rows] = (x[rows] * weights).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    return x


def blurred(x: Tensor, share: float, sigma: tuple[float, float], rng: torch.Generator) -> Tensor:
    """A share of the samples blurred by a Gaussian of σ uniform in ``sigma``, in pixels, > 0.

    The window holds ±3σ of the largest σ; edges are continued.
    """
    from kornia.filters import gaussian_blur2d

    rows = _rows(torch.rand(len(x), generator=rng) < share, x)
    drawn = sigma[0] + (sigma[1] - sigma[0]) * torch.rand(len(x), generator=rng)
    if not len(rows):
        return x
    window = 2 * math.ceil(3 * sigma[1]) + 1
    x, own = x.clone(), drawn[rows.cpu()].to(x).view(-1, 1).expand(-1, 2)
    x[rows] = gaussian_blur2d(x[rows], (window, window), own, border_type="replicate")
    return x


def solarized(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A share of the samples with the values from 1/2 up inverted (BYOL, arXiv:2006.07733, appendix B)."""
    rows = _rows(torch.rand(len(x), generator=rng) < share, x)
    if not len(rows):
        return x
    x, bright = x.clone(), x[rows]
    x[rows] = torch.where(bright < 0.5, bright, 1 - bright)
    return x


def _rows(chosen: Tensor, x: Tensor) -> Tensor:
    """Indices of the chosen samples, on the device of ``x``."""
    return chosen.nonzero()[:, 0].to(x.device)
