"""Looks: how an instrument nobody has built shows a scene; two of them share nothing but geometry."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.data.scenes import LABELS, LEVELS, Scenes, noise, spread, uniform

BLUR = 8
"""Radius in pixels of the window of a blur."""


def rendered(scene: Scenes, rng: torch.Generator) -> Tensor:
    """(B, 2, S, S) in [0, 1]: every scene through two instruments of independent looks.

    Each looks up its own gray values (unrelated for labels, a random, often folded, tone curve for
    photographs), gives some levels a texture, may show edges only, lose a part of the structure, blur, have
    fewer pixels, uneven light, and noise of several kinds.
    """
    b, _, side, _ = scene.level.shape
    n = 2 * b
    level = scene.level.reshape(n, side, side)
    table = _tables(b, scene.smooth, rng).view(n, LEVELS)
    x = _looked_up(table, level)
    x = x + _looked_up(_energies(n, rng), level) * _texture(n, side, rng)
    x = _mixed(x, _edges(x), 0.12, rng)
    x = _mixed(x, _faded(x, rng), 0.2, rng)
    x = _blurred(x, spread(0.3, 2.5, n, rng=rng))
    x = _coarse(x, rng)
    x = _mixed(x, _soft(x, rng), 0.15, rng)
    x = _ranged(x)
    light = F.interpolate(torch.randn(n, 1, 3, 3, generator=rng), size=(side, side), mode="bicubic")[:, 0]
    x = x * (_some(0.3, n, rng) * uniform(0, 0.5, n, 1, 1, rng=rng) * light).exp()
    x = _noisy(x, rng)
    # A tile of a large image rarely has the whole range of gray values.
    span = torch.where(_some(0.5, n, rng) > 0, spread(0.25, 1, n, 1, 1, rng=rng), 1.0)
    x = _ranged(x, 0.005) * span + (1 - span) * torch.rand(n, 1, 1, generator=rng)
    return x.clamp(0, 1).view(b, 2, side, side)


def _some(share: float, n: int, rng: torch.Generator) -> Tensor:
    """(n, 1, 1): 1 for a share of the samples, else 0."""
    return (torch.rand(n, 1, 1, generator=rng) < share).float()


def _mixed(x: Tensor, other: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """``other`` in place of ``x`` for a share of the samples."""
    return torch.where(_some(share, len(x), rng) > 0, other, x)


def _tables(b: int, smooth: Tensor, rng: torch.Generator) -> Tensor:
    """(B, 2, LEVELS) gray values in [0, 1] of every level."""
    shape = (b, 2, LEVELS)
    table = torch.rand(*shape, generator=rng)
    # Some instruments see few things and nothing else.
    table = torch.where(torch.rand(b, 2, 1, generator=rng) < 0.25, table**4, table)
    # What is one thing to an instrument may be two to the other.
    merged = torch.rand(*shape, generator=rng) < uniform(0, 0.5, b, 2, 1, rng=rng)
    table = torch.where(merged, table.roll(1, -1), table)
    # Tone curves: a slope of either sign and up to a few folds.
    t = torch.linspace(0, 1, LABELS)
    k = torch.arange(1, 5)[:, None]
    a = torch.randn(b, 2, 4, 1, generator=rng) * torch.tensor([2.0, 1.0, 0.5, 0.3])[:, None]
    a[:, :, 1:] *= (torch.rand(b, 2, 1, 1, generator=rng) < 0.6).float()
    curve = (a * (math.pi * k * t + uniform(-0.5, 0.5, b, 2, 4, 1, rng=rng)).cos()).sum(2)
    low, high = curve.amin(2, keepdim=True), curve.amax(2, keepdim=True)
    curve = (curve - low) / (high - low)
    table[..., :LABELS] = torch.where(smooth[:, None, None], curve, table[..., :LABELS])
    return torch.where(torch.rand(b, 2, 1, generator=rng) < 0.5, 1 - table, table)


def _energies(n: int, rng: torch.Generator) -> Tensor:
    """(n, LEVELS) deviation of the texture of every level; most have little."""
    energy = torch.rand(n, LEVELS, generator=rng) ** 3
    return energy * (torch.rand(n, 1, generator=rng) ** 2) * 0.35


def _looked_up(table: Tensor, level: Tensor) -> Tensor:
    """(n, S, S): entries of (n, LEVELS) at levels (n, S, S), linear between them."""
    low = level.floor().clamp(0, LEVELS - 1)
    index = low.long().flatten(1)
    a = table.gather(1, index).view_as(level)
    b = table.gather(1, (index + 1).clamp(max=LEVELS - 1)).view_as(level)
    return a + (level - low) * (b - a)


def _texture(n: int, side: int, rng: torch.Generator) -> Tensor:
    return noise(n, side, spread(0.5, 6, n, rng=rng), uniform(0, 1, n, rng=rng), rng)


def _edges(x: Tensor) -> Tensor:
    """Gradient magnitude: what phase contrast, dark field or a drawing keeps."""
    gy, gx = torch.gradient(x, dim=(1, 2))
    return (gy.square() + gx.square() + 1e-8).sqrt()


def _faded(x: Tensor, rng: torch.Generator) -> Tensor:
    """Structure lost over a part of the image."""
    n, side, _ = x.shape
    veil = noise(n, side, spread(12, 40, n, rng=rng), torch.zeros(n), rng)
    veil = torch.sigmoid(4 * (veil - uniform(0, 1.5, n, 1, 1, rng=rng)))
    small = F.interpolate(x[:, None], size=(-(-side // 24),) * 2, mode="area")
    ground = F.interpolate(small, size=(side, side), mode="bilinear")[:, 0]
    return x + 0.95 * veil * (ground - x)


def _blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of every sample with its own σ (n,) in pixels, border pixels repeated."""
    t = torch.arange(-BLUR, BLUR + 1)
    k = (-0.5 * (t / sigma[:, None]) ** 2).exp()
    k = k / k.sum(1, keepdim=True)
    n = len(x)
    x = F.pad(x[None], (BLUR,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, k[:, None, :, None], groups=n), k[:, None, None, :], groups=n)[0]


def _coarse(x: Tensor, rng: torch.Generator) -> Tensor:
    """Some samples as an instrument with fewer pixels has them."""
    n, side, _ = x.shape
    factor = torch.randint(1, 13, (n,), generator=rng)
    out = x.clone()
    for f in (2, 3, 4):
        here = (factor == f).nonzero()[:, 0]
        if len(here):
            small = F.interpolate(x[here][:, None], size=(-(-side // f),) * 2, mode="area")
            out[here] = F.interpolate(small, size=(side, side), mode="bicubic")[:, 0]
    return out


def _soft(x: Tensor, rng: torch.Generator) -> Tensor:
    """As emission tomography or thermography sees: blurred by σ of 2 to 7 pixels, no edge left."""
    n, side, _ = x.shape
    small = F.interpolate(x[:, None], size=(-(-side // 4),) * 2, mode="area")[:, 0]
    small = _blurred(small, spread(0.5, 1.75, n, rng=rng))
    return F.interpolate(small[:, None], size=(side, side), mode="bicubic")[:, 0]


def _noisy(x: Tensor, rng: torch.Generator) -> Tensor:
    """Additive, signal-dependent and multiplicative noise; any of them may be absent."""
    n = len(x)

    def strength(share: float, most: float) -> Tensor:
        return _some(share, n, rng) * most * torch.rand(n, 1, 1, generator=rng) ** 2

    white = torch.randn(x.shape, generator=rng)
    fine = _blurred(white, spread(0.2, 1.2, n, rng=rng))
    fine = fine / fine.std((1, 2), keepdim=True)
    x = x * (1 + strength(0.25, 0.5) * fine)
    return x + (strength(0.7, 0.15) + strength(0.25, 0.2) * x.clamp(min=0).sqrt()) * fine.roll(7, 1)


def _ranged(x: Tensor, share: float = 0.0) -> Tensor:
    """Into [0, 1] by its extremes, or by quantiles of a sixteenth of the pixels."""
    some = x[:, ::4, ::4].flatten(1) if share else x.flatten(1)
    if share:
        low, high = some.quantile(torch.tensor([share, 1 - share]), 1)
    else:
        low, high = some.amin(1), some.amax(1)
    return (x - low[:, None, None]) / (high - low).clamp_min(1e-4)[:, None, None]
