"""General: the model that comes with the package, one network for all modalities, as a measure.

It was trained by ``counterpoint train template --config recipes/general.yaml --synthetic``, on drawn pairs
alone. Its two channels are a direction as a double angle, which turns with the image, and how clear it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional as F

from counterpoint.core.encoder import Encoder
from counterpoint.core.networks import load_networks
from counterpoint.registration import refine
from counterpoint.registration.levels import Level
from counterpoint.registration.measure import FRAMES, Frame, Measure, pooled
from counterpoint.registration.prepare import Prepared
from counterpoint.registration.represent import intensity, smooth

FILE = Path(__file__).with_name("general.safetensors")
FINER = 4.0
"""The network looks at pixels this much finer than those its maps are compared at."""
PAD = 16
"""Pixels by which an image is continued beyond its border."""
EDGE = 2
"""Pixels along the edge of a mask whose maps do not count."""


@cache
def network() -> Encoder:
    """The network, in evaluation mode; do not change it."""
    return load_networks(FILE)["fixed"]


def general(fixed: Prepared, moving: Prepared, frame: Frame = "strict") -> Measure:
    """Maps of the model that comes with the package, correlated."""
    first, second = (pooled(getattr(image, frame), _once(), FINER) for image in (fixed, moving))
    return Measure(f"general{FRAMES[frame]}", first, second, refine.ncc, spin=True, whole=frame == "plain")


def _once() -> Callable[[Level], Level]:
    """``represented``, for the levels of one pyramid: near its foot several spacings share a level."""
    known: dict[torch.Size, Level] = {}

    def of(level: Level) -> Level:
        size = level.mask.shape
        if size not in known:
            known[size] = represented(level)
        return known[size]

    return of


@torch.inference_mode()
def represented(level: Level) -> Level:
    """Maps (2, H, W) of a level; those at the edge of its mask do not count."""
    net, x = network(), _filled(level)[None]
    h, w = level.mask.shape
    down, over = (-(-(n + 2 * PAD) // net.multiple) * net.multiple - n - PAD for n in (h, w))
    mode = "reflect" if min(h, w) > max(down, over) else "replicate"
    x = F.pad(x, (PAD, over, PAD, down), mode=mode)
    maps = net(x.contiguous(memory_format=torch.channels_last))[0, :, PAD : PAD + h, PAD : PAD + w]
    inner = level.mask
    if bool((inner < 0.99).any()):
        inner = -F.max_pool2d(-inner[None, None], 2 * EDGE + 1, 1, EDGE)[0, 0]
    return Level(maps.contiguous() * (inner > 0), inner, level.matrix)


def _filled(level: Level) -> torch.Tensor:
    """(1, H, W) gray; what is masked continues its surroundings, so that no rim is seen at its edge."""
    gray = intensity(level)
    mask = gray.mask[None]
    if bool((mask > 0.99).all()):
        return gray.maps
    inside = gray.maps * mask
    filled = torch.where(mask > 0.5, inside / mask.clamp_min(1e-3), torch.nan)
    for sigma in (3.0, 12.0):
        share = smooth(mask, sigma)
        near = filled.isnan() & (share > 0.01)
        filled = torch.where(near, smooth(inside, sigma) / share.clamp_min(1e-6), filled)
    return torch.where(filled.isnan(), inside.sum() / mask.sum().clamp_min(1.0), filled)
