"""Correlation of maps over all shifts: the critic of a search, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def correlated(images: Tensor, cuts: Tensor) -> Tensor:
    """Normalized cross-correlation of every cut-out with every image at every shift that holds it, by FFT.

    Args:
        images: (A, C, S, S).
        cuts: (B, C, P, P), P ≤ S.

    Returns:
        (A, B, S - P + 1, S - P + 1) in [-1, 1]; each channel is centered, all are normalized together.
    """
    side, small = images.shape[-1], cuts.shape[-1]
    s, count = (side, side), small * small
    valid = (..., slice(side - small + 1), slice(side - small + 1))
    cuts = cuts - cuts.mean((2, 3), keepdim=True)
    f, g = torch.fft.rfft2(images), torch.fft.rfft2(cuts, s=s).conj()
    cross = torch.fft.irfft2(torch.einsum("achw,bchw->abhw", f, g), s=s)[valid]
    box = torch.fft.rfft2(images.new_ones(small, small), s=s).conj()
    mean = torch.fft.irfft2(f * box, s=s)[valid] / count
    square = torch.fft.irfft2(torch.fft.rfft2(images.square().sum(1)) * box, s=s)[valid] / count
    spread = (square - mean.square().sum(1)).clamp_min(1e-6)[:, None]
    own = cuts.square().sum((1, 2, 3)).div(count).clamp_min(1e-6)[None, :, None, None]
    return cross / count / (spread * own).sqrt()
