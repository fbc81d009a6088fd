"""Drawn scenes: geometry of many kinds as maps of levels, before any instrument has looked at it.

After Hoffmann et al., SynthMorph: learning contrast-invariant registration without acquired images, TMI 2022
(arXiv:2004.10282): random label maps stand for anatomy that nobody has seen. Here also layers, cells, curves,
shapes, and crops of photographs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LABELS = 16
"""Levels 0 to 15 are what covers the ground; those from 16 on are what lies upon it."""
LEVELS = 32
"""How many entries an instrument's table of gray values has."""
KINDS = ("regions", "layers", "cells", "contours", "photograph", "posterized")
"""What may cover the ground."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """Geometry of a batch."""

    level: Tensor
    """(B, 2, S, S) in [0, LEVELS - 1]: where each of two instruments reads its table of gray values."""
    smooth: Tensor
    """(B,) bool: levels below ``LABELS`` are a quantity, not labels."""


def scenes(count: int, side: int, photographs: Sequence[Tensor], rng: torch.Generator) -> Scenes:
    """Draw geometry; without photographs only what can be drawn.

    Args:
        count: How many scenes.
        side: S in pixels.
        photographs: (3, H, W) in [0, 1] each, at least twice as large as S.
        rng: All randomness.
    """
    kinds = torch.randint(len(KINDS) if photographs else 4, (count,), generator=rng)
    level = torch.zeros(count, 2, side, side)
    for kind, name in enumerate(KINDS):
        here = (kinds == kind).nonzero()[:, 0]
        if len(here):
            if kind < 4:
                level[here] = GROUNDS[name](len(here), side, rng)[:, None]
            else:
                level[here] = _photographed(len(here), side, photographs, name == "posterized", rng)
    smooth = kinds == KINDS.index("photograph")
    for cover, share in COVERS:
        # What is drawn upon a photograph is drawn more rarely: it has structure enough.
        often = torch.where(kinds < 4, share, share / 3)
        here = (torch.rand(count, generator=rng) < often).nonzero()[:, 0]
        if len(here):
            label = cover(len(here), side, rng)[:, None]
            level[here] = torch.where(label > 0, label, level[here])
    return Scenes(level, smooth)


def noise(count: int, side: int, sigma: Tensor, rough: Tensor, rng: torch.Generator) -> Tensor:
    """(count, side, side) smooth noise of mean 0 and deviation 1, seamless at its edges.

    ``sigma`` (count,) is its scale in pixels (at most S/4), ``rough`` (count,) in [0, 1] the share of a finer
    scale.
    """
    w2, sigma = _frequency(side), sigma.clamp(max=side / 4)
    a, b = ((-0.5 * (s[:, None, None] ** 2) * w2).exp() for s in (sigma, sigma / 4))
    # Both parts have the same power before they are mixed.
    a, b = (f / f.square().mean((1, 2), keepdim=True).sqrt() for f in (a, b))
    both = a + rough[:, None, None] * b
    both[:, 0, 0] = 0
    white = torch.randn(count, side, side, generator=rng)
    out = torch.fft.irfft2(torch.fft.rfft2(white) * both, s=(side, side))
    return out / out.std((1, 2), keepdim=True)


def uniform(low: float, high: float, *shape: int, rng: torch.Generator) -> Tensor:
    """Uniform numbers."""
    return low + (high - low) * torch.rand(*shape, generator=rng)


def spread(low: float, high: float, *shape: int, rng: torch.Generator) -> Tensor:
    """Numbers whose logarithm is uniform."""
    return uniform(math.log(low), math.log(high), *shape, rng=rng).exp()


def places(side: int) -> tuple[Tensor, Tensor]:
    """X and y, (1, S, S) in pixels from the center."""
    axis = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x[None], y[None]


def _frequency(side: int) -> Tensor:
    """(S, S/2 + 1) squared angular frequency."""
    fy, fx = torch.fft.fftfreq(side), torch.fft.rfftfreq(side)
    return (2 * math.pi) ** 2 * (fy[:, None] ** 2 + fx[None] ** 2)


def _column(x: Tensor) -> Tensor:
    return x[:, None, None]


def _regions(n: int, side: int, rng: torch.Generator) -> Tensor:
    """The highest of several hills wins the ground."""
    hills = 6
    sigma, rough = spread(3, 24, n, rng=rng), uniform(0, 0.6, n, rng=rng)
    field = noise(n * hills, side, sigma.repeat_interleave(hills), rough.repeat_interleave(hills), rng)
    return (field.view(n, hills, side, side) + uniform(-1, 1, n, hills, 1, 1, rng=rng)).argmax(1).float()


def _layers(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Bands, straight or wavy."""
    x, y = places(side)
    angle = _column(uniform(0, 2 * math.pi, n, rng=rng))
    wave = noise(n, side, spread(6, 30, n, rng=rng), uniform(0, 0.3, n, rng=rng), rng)
    along = angle.cos() * x + angle.sin() * y + _column(uniform(0, 20, n, rng=rng)) * wave
    # Widths differ from band to band: the bands are cut where a slow wave passes whole numbers.
    along = along + _column(uniform(0, 12, n, rng=rng)) * (along / 17).sin()
    return (along / _column(spread(3, 24, n, rng=rng))).floor().remainder(LABELS)


def _cells(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Cells of points on a jittered grid (Worley 1996), some with walls."""
    first, second, label = cellular(n, side, spread(6, 36, n, rng=rng), rng)
    wall = _column(uniform(-2, 4, n, rng=rng))
    few = _column(torch.randint(2, LABELS, (n,), generator=rng))
    return torch.where(second - first < wall, LABELS - 1.0, label.remainder(few).float())


def _contours(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Heights of a landscape, in steps."""
    field = noise(n, side, spread(4, 24, n, rng=rng), uniform(0, 0.5, n, rng=rng), rng)
    steps = _column(uniform(1, 6, n, rng=rng))
    return ((field + 3) * steps / 2).floor().clamp(0, LABELS - 1)


GROUNDS = {"regions": _regions, "layers": _layers, "cells": _cells, "contours": _contours}


def cellular(n: int, side: int, size: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Distances in pixels to the nearest and second point of a jittered grid, and the nearest one's number.

    ``size`` (n,): pixels between points. Results are (n, S, S); the space is bent a little.
    """
    x, y = places(side)
    angle, size = _column(uniform(0, 2 * math.pi, n, rng=rng)), _column(size)
    bend = noise(2 * n, side, size.flatten().repeat(2).clamp(4, 20), torch.zeros(2 * n), rng) * 0.2
    u = (angle.cos() * x - angle.sin() * y) / size + bend[:n]
    v = (angle.sin() * x + angle.cos() * y) / size + bend[n:]
    wrap = 64
    jitter = uniform(0, 1, n, 2, wrap * wrap, rng=rng)
    number = torch.randint(1 << 20, (n, wrap * wrap), generator=rng)
    i, j = u.floor(), v.floor()
    first, second = torch.full_like(u, torch.inf), torch.full_like(u, torch.inf)
    label = torch.zeros_like(u, dtype=torch.long)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            key = ((i + di).remainder(wrap) * wrap + (j + dj).remainder(wrap)).long().flatten(1)
            px = i + di + jitter[:, 0].gather(1, key).view_as(u)
            py = j + dj + jitter[:, 1].gather(1, key).view_as(u)
            far = ((px - u).square() + (py - v).square()).sqrt()
            nearer = far < first
            second = torch.where(nearer, first, torch.minimum(second, far))
            label = torch.where(nearer, number.gather(1, key).view_as(u), label)
            first = torch.minimum(first, far)
    return first * size, second * size, label


def _photographed(
    n: int, side: int, photographs: Sequence[Tensor], posterize: bool, rng: torch.Generator
) -> Tensor:
    """(n, 2, S, S): crops at any rotation and scale, through two mixtures of the colors; or in few steps."""
    out = torch.zeros(n, 2, side, side)
    for k in range(n):
        photo = photographs[int(torch.randint(len(photographs), (), generator=rng))]
        crop = _crop(photo, side, rng)
        mix = torch.randn(2, 3, generator=rng)
        # Often the second instrument sees the same mixture, mostly close to gray.
        mix = mix + 1.5 * torch.rand(1, generator=rng)
        if torch.rand((), generator=rng) < 0.4:
            mix[1] = mix[0]
        seen = torch.einsum("mc,chw->mhw", mix, crop)
        out[k] = _ranged(seen)
    if posterize:
        steps = _column(torch.randint(2, LABELS, (n,), generator=rng))[..., None]
        wave = noise(n, side, spread(0.8, 3, n, rng=rng), torch.zeros(n), rng)[:, None]
        out = ((out[:, :1] + 0.02 * wave) * steps).floor().clamp(min=0).minimum(steps - 1)
        return out.expand(-1, 2, -1, -1)
    return out * (LABELS - 1)


def _crop(photo: Tensor, side: int, rng: torch.Generator) -> Tensor:
    """(3, S, S) of a photograph, anti-aliased by halving it as often as the scale asks for."""
    h, w = photo.shape[1:]
    largest = min(min(h, w) / (1.5 * side), 4.0)
    scale = float(spread(min(0.7, largest), max(largest, 0.71), 1, rng=rng))
    while scale > 1.5:
        photo, scale = torch.nn.functional.avg_pool2d(photo[None], 2)[0], scale / 2
    h, w = photo.shape[1:]
    angle = float(uniform(0, 2 * math.pi, 1, rng=rng))
    reach = scale * side * (abs(math.cos(angle)) + abs(math.sin(angle))) / 2
    u = torch.rand(2, generator=rng)
    center = [float(reach + a * max(n - 1 - 2 * reach, 0)) for a, n in zip(u, (w, h), strict=True)]
    x, y = places(side)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    at = torch.stack((c * x - s * y + center[0], s * x + c * y + center[1]), -1)
    at = (2 * at + 1) / torch.tensor([w, h]) - 1
    return torch.nn.functional.grid_sample(photo[None], at, padding_mode="reflection", align_corners=False)[0]


def _ranged(x: Tensor) -> Tensor:
    """(…, S, S) into [0, 1] by its extremes."""
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-6)


def _curves(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Vessels and fibers: the shores of two landscapes, of a width in pixels, with gaps."""
    out = torch.zeros(n, side, side)
    for label in (LABELS, LABELS + 1):
        field = noise(n, side, spread(4, 20, n, rng=rng), uniform(0, 0.3, n, rng=rng), rng)
        gy, gx = torch.gradient(field, dim=(1, 2))
        far = field.abs() / (gy.square() + gx.square()).sqrt().clamp_min(0.02)
        gate = noise(n, side, spread(10, 40, n, rng=rng), torch.zeros(n), rng)
        width = _column(spread(0.7, 3.5, n, rng=rng)) * (1 + 0.4 * gate)
        out[(far < width) & (gate > _column(uniform(-3, 0.8, n, rng=rng)))] = label
    return out


def _shapes(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Ellipses and boxes, one over the other."""
    x, y = places(side)
    out = torch.zeros(n, side, side)
    count = torch.randint(1, 13, (n,), generator=rng)
    for k in range(12):
        cx, cy = (_column(uniform(-side / 2, side / 2, n, rng=rng)) for _ in range(2))
        angle = _column(uniform(0, math.pi, n, rng=rng))
        a, b = (_column(spread(2, side / 3, n, rng=rng)) for _ in range(2))
        u = (angle.cos() * (x - cx) + angle.sin() * (y - cy)) / a
        v = (angle.cos() * (y - cy) - angle.sin() * (x - cx)) / b
        box = _column(torch.rand(n, generator=rng) < 0.5)
        far = torch.where(box, torch.maximum(u.abs(), v.abs()), u.square() + v.square())
        out[(far < 1) & _column(k < count)] = LABELS + 2.0 + k % 5
    return out


def _dots(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Nuclei: disks around some points of a jittered grid."""
    size = spread(5, 24, n, rng=rng)
    first, _, number = cellular(n, side, size, rng)
    radius = _column(size * uniform(0.15, 0.5, n, rng=rng)) * (0.6 + 0.8 * number.remainder(97) / 97)
    seen = number.remainder(89) < _column(uniform(20, 110, n, rng=rng))
    return torch.where((first < radius) & seen, LABELS + 7.0 + number.remainder(2), 0.0)


def _lines(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Straight lines."""
    x, y = places(side)
    out = torch.zeros(n, side, side)
    for k in range(5):
        angle = _column(uniform(0, math.pi, n, rng=rng))
        far = angle.cos() * x + angle.sin() * y - _column(uniform(-side / 2, side / 2, n, rng=rng))
        out[far.abs() < _column(spread(0.5, 3, n, rng=rng))] = LABELS + 9.0 + k % 2
    return out


def _outside(n: int, side: int, rng: torch.Generator) -> Tensor:
    """Nothing: beyond a circle, a line or a shore the image is empty."""
    x, y = places(side)
    angle = _column(uniform(0, 2 * math.pi, n, rng=rng))
    radius = _column(spread(side / 2, 4 * side, n, rng=rng))
    away = radius + _column(uniform(-side / 2, side / 6, n, rng=rng))
    far = ((x - away * angle.cos()).square() + (y - away * angle.sin()).square()).sqrt() - radius
    shore = noise(n, side, spread(8, 30, n, rng=rng), uniform(0, 0.5, n, rng=rng), rng)
    far = far + _column(uniform(-4, 8, n, rng=rng)).clamp(min=0) * shore
    return torch.where(far > 0, LEVELS - 1.0, 0.0)


COVERS = ((_curves, 0.4), (_shapes, 0.4), (_dots, 0.35), (_lines, 0.25), (_outside, 0.2))
"""What may lie upon the ground, in this order, and how often."""
