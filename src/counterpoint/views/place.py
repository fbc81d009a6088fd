"""Where a crop lies in its sample: boxes drawn, images cut out along them, maps of crops put back.

A box is (x0, y0, x1, y1) in shares of the sample's width and height, from its outer edges; x0 > x1 says that
the crop is mirrored left and right. One linear resampling serves both ways: a crop is the sample resampled
over its box, and a map of the crop is put back by resampling it over the inverse box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Pair = tuple[float, float]

TRIES = 10
"""How often a box is drawn anew before the largest one that the sample has room for is taken."""


def drawn_boxes(
    count: int, frame: tuple[int, int], area: Pair, ratio: Pair, flip: float, rng: torch.Generator
) -> Tensor:
    """(count, 4) boxes of random area, shape and place: "Inception" crops (Szegedy et al., arXiv:1409.4842).

    Sides are not rounded to whole pixels, which would matter in small images.

    Args:
        count: How many.
        frame: (height, width) of the samples in pixels.
        area: Smallest and largest share of the sample's area, uniform in between; 0 < smallest ≤ largest ≤ 1.
        ratio: Smallest and largest width / height in pixels, log-uniform in between.
        flip: Share of boxes that are mirrored, in [0, 1].
        rng: Where all randomness comes from.
    """
    height, width = frame
    share = area[0] + (area[1] - area[0]) * torch.rand(count, TRIES, generator=rng)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = (low + (high - low) * torch.rand(count, TRIES, generator=rng)).exp() * height / width
    sides = torch.stack([share * shape, share / shape]).sqrt()  # (2, count, TRIES): widths and heights
    fits = (sides <= 1 + 1e-6).all(0)
    first = fits.int().argmax(1).expand(2, -1)[..., None]
    largest = (ratio[1] * height / width, width / (ratio[0] * height))
    sides = torch.where(fits.any(1), sides.gather(2, first)[..., 0], torch.tensor(largest)[:, None])
    w, h = sides.clamp_(max=1)
    left, top = torch.rand(2, count, generator=rng) * (1 - sides)
    mirrored = torch.rand(count, generator=rng) < flip
    x0, x1 = torch.where(mirrored, left + w, left), torch.where(mirrored, left, left + w)
    return torch.stack([x0, top, x1, top + h], 1)


def resampled(x: Tensor, box: Tensor, size: tuple[int, int], *, cubic: bool = False) -> Tensor:
    """Each image resampled over its own box, antialiased where it shrinks, as Pillow's ``resize(box=)`` does.

    Args:
        x: (B, C, H, W) float; half precision is computed and returned in single.
        box: (B, 4); what lies outside the image is continued from its edge, and 0 further out.
        size: (height, width) of the result in pixels.
        cubic: Bicubic (a = -1/2) instead of bilinear; overshoots the range of ``x`` at edges.

    Returns:
        (B, C, *size).
    """
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    box = box.to(x)
    rows = _weights(box[:, 1], box[:, 3], x.shape[-2], size[0], cubic)
    columns = _weights(box[:, 0], box[:, 2], x.shape[-1], size[1], cubic)
    with torch.autocast(x.device.type, enabled=False):  # half precision would blur the places
        wide = (x.flatten(1, 2) @ columns.mT).unflatten(1, x.shape[1:3])
        # channel by channel: a broadcast product would copy the weights for each, and take four times as long
        return torch.stack([rows @ channel for channel in wide.unbind(1)], 1)


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Takes maps of crops back into their samples' frames; the ``undo`` of a crop."""

    box: Tensor
    """(B, 4) where in its sample each crop lies."""
    frame: tuple[int, int]
    """(height, width) of the samples in pixels."""
    size: tuple[int, int]
    """(height, width) of the crops in pixels."""

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps (B, C, h, w) of any resolution on their samples' frames; NaN where the crop saw nothing.

        Strides are kept: the result is (B, C, H·h / size, W·w / size), rounded, for samples of H × W, so that
        maps of one network lie on one grid whatever the sizes of their crops. Bilinear, with gradients.
        """
        box = self.box.to(maps.device)
        high, wide = (
            max(1, round(n * m / s)) for n, m, s in zip(self.frame, maps.shape[-2:], self.size, strict=True)
        )
        low, span = box[:, :2], box[:, 2:] - box[:, :2]
        inverse = torch.cat([-low / span, (1 - low) / span], 1)
        there = resampled(maps, inverse, (high, wide))
        seen_x, seen_y = (_seen(inverse[:, i], inverse[:, i + 2], n) for i, n in ((0, wide), (1, high)))
        seen = seen_y[:, None, :, None] & seen_x[:, None, None, :]
        return there.masked_fill(~seen, math.nan)


def _centers(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """(B, count): centers of ``count`` cells between ``start`` and ``stop``, (B,)."""
    at = (torch.arange(count, device=start.device, dtype=start.dtype) + 0.5) / count
    return start[:, None] + (stop - start)[:, None] * at


def _seen(start: Tensor, stop: Tensor, count: int) -> Tensor:
    """(B, count) bool: which cell centers lie in [0, 1]."""
    at = _centers(start, stop, count)
    return (at >= -1e-5) & (at <= 1 + 1e-5)


def _weights(start: Tensor, stop: Tensor, n: int, count: int, cubic: bool) -> Tensor:
    """(B, count, n): how much each of ``n`` pixels gives to each of ``count`` cells along one axis."""
    center = _centers(start, stop, count) * n
    reach = ((stop - start).abs() * n / count).clamp(min=1)[:, None, None]
    pixel = torch.arange(n, device=start.device, dtype=start.dtype) + 0.5
    t = (pixel - center[..., None]).abs_().div_(reach)
    if cubic:
        near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
        weight = torch.where(t < 1, near, torch.where(t < 2, far, 0))
    else:
        weight = (1 - t).clamp_(min=0)
    # inside the image the sum is about ``reach``, far outside it is 0 and stays so
    return weight.div_(weight.sum(-1, keepdim=True).clamp_(min=1e-6))
