"""Drawn shapes: a data set of any length whose every sample follows from (seed, part, index)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays, chosen_parts, joined
from counterpoint.data.pixels import with_channels

CLASSES = ("disk", "ring", "square", "triangle", "cross", "bar")
SPLIT = {"train": 1200, "test": 300}
"""How many samples a part has."""


def shapes(
    part: str | None = None,
    *,
    size: int = 32,
    channels: int | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Arrays:
    """One shape on a shaded ground a picture; its class is what it is, all else is left to chance.

    Place, size, angle, color, the shading of the ground and noise are drawn for every sample from the seed,
    the part and its index alone: longer sets begin like shorter ones. Classes take turns.

    Args:
        part: "train" (1200 samples) or "test" (300); both together if not given.
        size: Side in pixels.
        channels: 1 for gray pictures; 3 if not given.
        count: How many samples the parts have instead.
        seed: What the pictures follow from.

    Returns:
        Images (N, 3, size, size), labels, six classes.

    Raises:
        InputError: another part or number of channels.
    """
    sets = []
    parts = [p for p in chosen_parts(part, tuple(SPLIT), "shapes") if p]
    for chosen in parts:
        number = SPLIT[chosen] if count is None else count
        label = torch.arange(number) % len(CLASSES)
        draws = [generator(seed, "shapes", chosen, i) for i in range(number)]
        law = torch.stack([torch.rand(16, generator=rng) for rng in draws])
        noise = torch.stack([torch.randn(3, size, size, generator=rng) for rng in draws])
        image = with_channels(_drawn(label, law, noise), channels, "shapes")
        sets.append(Arrays(image, label, CLASSES, name="shapes"))
    return joined(sets, parts, "shapes")


def _drawn(label: Tensor, law: Tensor, noise: Tensor) -> Tensor:
    """(N, 3, S, S) in [0, 1] from class, 16 uniform numbers and standard normal noise a sample."""
    side = noise.shape[-1]
    axis = (torch.arange(side) + 0.5) / side * 2 - 1
    y, x = (a[None] for a in torch.meshgrid(axis, axis, indexing="ij"))
    u = law[:, :, None, None]
    angle, radius = 2 * math.pi * u[:, 0], 0.35 + 0.3 * u[:, 1]
    dx, dy = x - 0.7 * (u[:, 2] - 0.5), y - 0.7 * (u[:, 3] - 0.5)
    a, b = (angle.cos() * dx + angle.sin() * dy) / radius, (angle.cos() * dy - angle.sin() * dx) / radius
    inside = -_outline(label, a, b) * radius * side / 2  # in pixels
    cover = (inside + 0.5).clamp(0, 1)[:, None]
    front, back = u[:, 4:7], u[:, 7:10]
    back = torch.where((front - back).abs().mean(1, keepdim=True) < 0.25, (front + 0.5) % 1, back)
    shade = 0.2 * ((u[:, 10] - 0.5) * x + (u[:, 11] - 0.5) * y)[:, None]
    return (cover * front + (1 - cover) * (back + shade) + 0.03 * noise).clamp(0, 1)


def _outline(label: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(N, S, S): about how far outside of a shape of radius 1 a place (a, b) lies; negative inside."""
    far = (a.square() + b.square()).sqrt()
    flat = torch.maximum(a.abs(), b.abs())
    arm = torch.minimum(a.abs(), b.abs())
    kinds = torch.stack(
        [
            far - 0.9,
            (far - 0.75).abs() - 0.2,
            flat - 0.8,
            torch.maximum(0.866 * a.abs() + 0.5 * b, -b) - 0.5,
            torch.maximum(flat - 0.95, arm - 0.25),
            torch.maximum(a.abs() - 1, b.abs() - 0.25),
        ]
    )
    return kinds[label, torch.arange(len(label))]
