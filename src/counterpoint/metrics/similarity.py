"""How alike the maps of two modalities are, pair by pair.

``mse``, ``correlation`` and ``ssim`` take two tensors (B, C, H, W) of one shape, the b-th map of each showing
the same thing, compute in double precision and return (B,) float64, one number a pair; ``compared`` gives
the means of the three.
"""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.errors import InputError

WINDOW = 11
"""Side of the window of SSIM in pixels: 3.5 σ to each side of a pixel, for σ = 1.5."""


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference over all pixels and channels, ≥ 0; lower is more alike."""
    x, y = _pairs(x, y)
    return (x - y).square().flatten(1).mean(1)


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation over all pixels and channels, in [−1, 1]; 0 where one of the maps is constant."""
    x, y = (v.flatten(1) for v in _pairs(x, y))
    centered = [v - v.mean(1, keepdim=True) for v in (x, y)]
    # What rounding alone leaves of a constant map is no pattern.
    floor = [1e-7 * v.norm(dim=1) for v in (x, y)]
    lengths = [
        torch.where(c.norm(dim=1) > f, c.norm(dim=1), torch.inf) for c, f in zip(centered, floor, strict=True)
    ]
    return (centered[0] * centered[1]).sum(1) / (lengths[0] * lengths[1])


def ssim(x: Tensor, y: Tensor, data_range: float | None = None) -> Tensor:
    """Structural similarity, in [−1, 1], mean over pixels and channels; 1 if the maps are equal.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", with
    their Gaussian window of σ = 1.5, as scikit-image has it.

    Args:
        x: (B, C, H, W), H and W at least 11.
        y: The same shape.
        data_range: Largest minus smallest value that maps can have; if not given, of each pair what its two
            maps have. Maps without bounds have no range of their own, and their numbers compare but loosely.

    Raises:
        InputError: maps smaller than the window.
    """
    from skimage.metrics import structural_similarity

    x, y = _pairs(x, y)
    if min(x.shape[2:]) < WINDOW:
        raise InputError(
            f"ssim: expected maps of at least {WINDOW} pixels a side, found {tuple(x.shape[2:])}"
        )
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = []
    for a, b in zip(x.cpu().numpy(), y.cpu().numpy(), strict=True):
        span = data_range or max(a.max(), b.max()) - min(a.min(), b.min())
        # Without any range all values of both are equal.
        one = structural_similarity(a, b, data_range=span, channel_axis=0, **wang) if span else 1.0
        found.append(one)
    return torch.tensor(found, dtype=torch.float64)


def compared(x: Tensor, y: Tensor) -> dict[str, float]:
    """Means over the pairs: "mse", "ssim" and "correlation"."""
    return {measure.__name__: float(measure(x, y).mean()) for measure in (mse, ssim, correlation)}


def _pairs(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 4 or x.shape != y.shape or not x.numel():
        raise InputError(
            f"maps: expected two (B, C, H, W) of one shape, found {tuple(x.shape)} and {tuple(y.shape)}"
        )
    both = x.detach().double(), y.detach().double()
    if not all(v.isfinite().all() for v in both):
        raise InputError("maps: expected finite numbers, found others")
    return both
