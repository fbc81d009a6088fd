"""From candidates to sub-pixel: several transforms climb the same score at once, level by level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.core.rng import generator
from counterpoint.registration.levels import Level
from counterpoint.registration.search import spun

Kind = Literal["rigid", "similarity", "affine"]
Score = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(C, N) fixed values, (K, C, N) moving values, (K, N) weights → (K,) scores, the higher the better."""

FREE: dict[Kind, int] = {"rigid": 3, "similarity": 4, "affine": 6}
"""How many numbers say what may move; the last two are the shift."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Where a score is taken: pixels of the fixed level."""

    x: Tensor
    """(N, 3) homogeneous fixed pixels."""
    values: Tensor
    """(C, N) fixed maps there."""
    weight: Tensor
    """(N,) fixed mask there."""


def sample(fixed: Level, most: int, seed: int = 0) -> Points:
    """At most ``most`` pixels of the fixed level inside its mask, drawn once without replacement."""
    where = torch.nonzero(fixed.mask > 0.05)
    if len(where) > most:
        where = where[torch.randperm(len(where), generator=generator(seed, "points"))[:most].sort().values]
    y, x = where.T
    return Points(torch.stack((x, y, torch.ones_like(x)), 1).float(), fixed.maps[:, y, x], fixed.mask[y, x])


def look(points: Points, moving: Level, pixel: Tensor, spin: bool) -> tuple[Tensor, Tensor]:
    """Moving maps (K, C, N) and weights (K, N) at the points, under ``pixel`` (K, 3, 3)."""
    h, w = moving.mask.shape
    at = points.x @ pixel[:, :2].mT
    at = ((2 * at + 1) / torch.tensor([w, h]) - 1)[:, None]
    both = moving.weighted.expand(len(pixel), -1, -1, -1)
    got = F.grid_sample(both, at, align_corners=False)[:, :, 0]
    maps, weight = got[:, :-1] / got[:, -1:].clamp_min(1e-3), got[:, -1]
    return (spun(maps, pixel[:, :2, :2]) if spin else maps), weight * points.weight


def ncc(f: Tensor, g: Tensor, w: Tensor) -> Tensor:
    """Weighted normalized cross-correlation over points and channels, each channel centered; in [-1, 1]."""
    n = w.sum(-1, keepdim=True).clamp_min(1e-6)
    p = (w / n)[:, None]
    f0, g0 = f - (p * f).sum(-1, keepdim=True), g - (p * g).sum(-1, keepdim=True)
    cross, ff, gg = (p * f0 * g0).sum((1, 2)), (p * f0 * f0).sum((1, 2)), (p * g0 * g0).sum((1, 2))
    return cross / torch.sqrt((ff * gg).clamp_min(1e-12))


def mutual_information(f: Tensor, g: Tensor, w: Tensor, bins: int = 32) -> Tensor:
    """Mutual information in nats of single-channel values in [0, 1], by Parzen windows (Mattes et al. 2003).

    The fixed value falls into one bin, the moving value into four by a cubic B-spline, so that the score is
    smooth in the moving value.
    """
    k = len(g)
    row = (f[0].clamp(0, 1) * (bins - 1)).round().long()
    position = g[:, 0].clamp(0, 1) * (bins - 4) + 1.5
    first = position.detach().floor()
    u = position - first
    taps = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    joint = w.new_zeros(k, bins * bins)
    base = row * bins + first.long() - 1
    for i, tap in enumerate(taps):
        joint = joint.scatter_add(1, base + i, tap / 6 * w)
    joint = joint.view(k, bins, bins) / w.sum(-1).clamp_min(1e-6)[:, None, None]
    a, b = joint.sum(2), joint.sum(1)
    entropies = [(q * (q + 1e-10).log()).flatten(1).sum(1) for q in (joint, a, b)]
    return entropies[0] - entropies[1] - entropies[2]


def motion(p: Tensor, kind: Kind) -> Tensor:
    """(K, 2, 2) linear part of a small motion; ``p`` in radians and log scale, or entries of the matrix."""
    if kind == "affine":
        return torch.eye(2) + p[:, :4].view(-1, 2, 2)
    c, s = torch.cos(p[:, 0]), torch.sin(p[:, 0])
    turn = torch.stack((c, -s, s, c), -1).view(-1, 2, 2)
    return turn * torch.exp(p[:, 1])[:, None, None] if kind == "similarity" else turn


def climb(
    points: Points,
    moving: Level,
    start: np.ndarray,
    fixed: np.ndarray,
    kind: Kind,
    score: Score,
    spin: bool = False,
    steps: int = 60,
    step: float = 1.0,
    least: float = 0.01,
) -> tuple[np.ndarray, np.ndarray]:
    """Climb the score from every start at once.

    Gradient ascent whose step has a length in pixels at the image's corner and is halved whenever the
    direction turns back, so that it needs no scale of the score.

    Args:
        points: where on the fixed level the score is taken.
        moving: the moving level.
        start: (K, 3, 3) fixed physical → moving physical.
        fixed: (3, 3) pixel → physical of the fixed level.
        kind: which parameters may move.
        score: what is climbed.
        spin: the maps are double-angle channels.
        steps: how many steps at most.
        step: length of the first step in pixels of the level.
        least: stop a climber whose step is shorter than this, in pixels of the level.

    Returns:
        (K, 3, 3) fixed physical → moving physical, and (K,) their scores.
    """
    to_moving = np.linalg.inv(moving.matrix)
    pixel0 = torch.from_numpy(to_moving @ start @ fixed).float()
    # Pixels need not be square, so the motion is made in physical space, where its kind is meant.
    there, back = (torch.from_numpy(m[:2, :2]).float() for m in (moving.matrix, to_moving))
    center = points.x[:, :2].mean(0)
    radius = float((points.x[:, :2] - center).norm(dim=1).max().clamp_min(1.0))
    free = FREE[kind]
    lengths = torch.full((free,), 1 / radius)
    lengths[-2:] = 1.0
    p = torch.zeros(len(start), free)
    best, best_p = torch.full((len(start),), -torch.inf), p.clone()
    length, last = torch.full((len(start),), step), torch.zeros_like(p)

    def pixel(p: Tensor) -> Tensor:
        q = p * lengths
        linear = back @ motion(q, kind) @ there @ pixel0[:, :2, :2]
        anchor = pixel0[:, :2, :2] @ center + pixel0[:, :2, 2]
        t = anchor + q[:, -2:] - (linear @ center)
        top = torch.cat((linear, t[:, :, None]), 2)
        return torch.cat((top, torch.tensor([0.0, 0.0, 1.0]).expand(len(p), 1, 3)), 1)

    for _ in range(steps):
        p.requires_grad_(True)
        value = score(points.values, *look(points, moving, pixel(p), spin))
        (gradient,) = torch.autograd.grad(value.sum(), p)
        p = p.detach()
        value = value.detach()
        better = value > best
        best, best_p = torch.where(better, value, best), torch.where(better[:, None], p, best_p)
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp_min(1e-20)
        length = torch.where((gradient * last).sum(1) < 0, length / 2, length)
        if float(length.max()) < least:
            break
        p = p + length[:, None] * gradient * (length >= least)[:, None]
        last = gradient
    out = moving.matrix @ pixel(best_p).double().numpy() @ np.linalg.inv(fixed)
    return out, best.numpy()
