"""Representations: image → map, by a trained network or by what modalities have in common anyway."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.core.encoder import Encoder
from counterpoint.data.intensity import LUMINANCE
from counterpoint.registration.levels import Level


def smooth(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, H, W), border pixels repeated outwards; ``sigma`` in pixels."""
    radius = max(1, int(3 * sigma + 0.5))
    t = torch.arange(-radius, radius + 1, dtype=x.dtype)
    k = torch.exp(-0.5 * (t / sigma) ** 2)
    k = k / k.sum()
    c = x.shape[0]
    x = F.pad(x[None], (radius,) * 4, mode="replicate")
    x = F.conv2d(x, k.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
    return F.conv2d(x, k.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)[0]


def normalized_gradient(level: Level, sigma: float = 1.0, reach: float = 6.0) -> Level:
    """Double-angle normalized gradient (2, H, W) of all channels together.

    The structure tensor summed over the channels, J = Σ ∇I ∇Iᵀ, gives (J11 - J22, 2 J12) / (tr J + ε²): the
    direction of the gradient without its sign, weighted by how clear it is. Its correlation is the
    normalized gradient field measure of Haber and Modersitzki (2006). ε² is half the mean of tr J within
    ``reach`` pixels plus 2 % of that of the image, so that a weak vessel counts as much as a sharp rim.
    """
    # Divided by the blurred mask, so that what is masked does not bleed into what is not.
    x = smooth(level.maps * level.mask, sigma) / smooth(level.mask[None], sigma).clamp_min(1e-3)
    gy, gx = torch.gradient(x, dim=(1, 2))
    j = torch.stack((gx.square() - gy.square(), 2 * gx * gy, gx.square() + gy.square())).sum(1)
    # Gradients across a mask's edge are not the image's.
    inner = -F.max_pool2d(-level.mask[None, None], 5, 1, 2)[0, 0]
    energy = j[2] * inner
    mean = energy.sum() / inner.sum().clamp_min(1.0)
    local = smooth(energy[None], reach)[0] / smooth(inner[None], reach)[0].clamp_min(1e-3)
    maps = j[:2] / (j[2] + 0.5 * local + 0.02 * mean + 1e-12)
    return Level(maps * (inner > 0), inner, level.matrix)


def intensity(level: Level) -> Level:
    """One gray channel (1, H, W), stretched to [0, 1] where the mask is."""
    weights = (
        torch.tensor(LUMINANCE)
        if len(level.maps) == 3
        else torch.full((len(level.maps),), 1 / len(level.maps))
    )
    gray = (level.maps * weights[:, None, None]).sum(0, keepdim=True)
    inside = gray[0][_counting(level)]
    low, high = inside.min(), inside.max()
    stretched = ((gray - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
    return Level(stretched * (level.mask > 0), level.mask, level.matrix)


def categories(level: Level, count: int = 6) -> Level:
    """One-hot channels (count, H, W) of k-means clusters of the channels' values; fewer are all there are."""
    from sklearn.cluster import KMeans

    values = level.maps.flatten(1).T.numpy()
    inside = values[_counting(level).flatten().numpy()]
    some = inside[:: max(1, len(inside) // 4000)]
    clusters = min(count, len(np.unique(some, axis=0)))
    means = KMeans(clusters, n_init="auto", random_state=0, max_iter=30).fit(some)
    which = torch.from_numpy(means.predict(values)).long().view(level.mask.shape)
    one_hot = F.one_hot(which, count).permute(2, 0, 1).float()
    return Level(one_hot * (level.mask > 0), level.mask, level.matrix)


def _counting(level: Level) -> Tensor:
    """(H, W) bool: pixels that count at least half as much as any; never none."""
    return level.mask >= 0.5 * level.mask.max()


def learned(
    network: Encoder,
    image: np.ndarray,
    factor: int = 1,
    stretch: Callable[[np.ndarray], np.ndarray] | None = None,
    tile: int = 768,
    margin: int = 128,
) -> Tensor:
    """Maps (C, h, w) of a trained network for an image (H, W, C), averaged down by ``factor``.

    The image is reflected at its border and worked off in tiles that overlap by ``margin`` pixels, so that
    memory is bounded and no seam is seen. ``stretch`` brings a tile to [0, 1]; without it the image is there
    already. A network in training mode is not touched: a copy is evaluated.
    """
    if network.training:
        network = deepcopy(network).eval()
    h, w = (n // factor for n in image.shape[:2])
    step = tile // factor * factor
    out = torch.zeros(network.out_dim, h, w)
    rows, cols = h * factor, w * factor
    for y, x in product(range(0, rows, step), range(0, cols, step)):
        bottom, right = min(y + step, rows), min(x + step, cols)
        # The grid of the network's poolings starts at a multiple, so that tiles agree where they overlap.
        top, left = (
            (max(0, n - margin) // network.multiple * network.multiple)
            - network.multiple * (-(-margin // network.multiple) if n < margin else 0)
            for n in (y, x)
        )
        down, over = (
            _up(n + margin - first, network.multiple) + first for n, first in ((bottom, top), (right, left))
        )
        pick = [
            _reflected(np.arange(a, b), n)
            for a, b, n in ((top, down, image.shape[0]), (left, over, image.shape[1]))
        ]
        block = image[np.ix_(*pick)] if stretch is None else stretch(image[np.ix_(*pick)])
        part = torch.from_numpy(np.ascontiguousarray(block.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            maps = network(part)[0, :, y - top : bottom - top, x - left : right - left]
        if factor > 1:
            maps = F.avg_pool2d(maps[None], factor)[0]
        out[:, y // factor : bottom // factor, x // factor : right // factor] = maps
    return out


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    """Indices outside [0, size) reflected at the border without repeating it."""
    period = max(2 * (size - 1), 1)
    index = np.abs(index) % period
    return np.where(index >= size, period - index, index)
