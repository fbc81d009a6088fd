"""Difference hash: 64 bits of a picture that hardly change when it is copied, scaled or brightened."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.errors import InputError

SIDE = 8
"""Rows of a hash, and bits of a row."""


def difference_hash(x: Tensor) -> Tensor:
    """Whether each pixel of a picture of 9 columns × 8 rows is darker than its neighbor to the right.

    Pictures become 8-bit gray, then 9 × 8 pixels by Lanczos' kernel, antialiased, as Pillow resizes; equal
    neighbors give no bit. Hash pictures themselves, never augmented ones; large even parts, such as the
    black border of a slice, have no bits at all, so pictures that hold little else hash alike. Source:
    Krawetz 2013, "Kind of like that", as the package imagehash has it.

    Args:
        x: (N, 1, H, W) in [0, 1].

    Returns:
        (N, 64) bool, row by row.

    Raises:
        InputError: pictures of another shape or with values out of range.
    """
    from PIL import Image

    if x.ndim != 4 or x.shape[1] != 1 or not x.numel():
        raise InputError(f"difference_hash: expected pictures (N, 1, H, W), found {tuple(x.shape)}")
    if not 0 <= float(x.amin()) <= float(x.amax()) <= 1:
        raise InputError("difference_hash: expected values in [0, 1], found others")
    bits = []
    for picture in (x[:, 0] * 255).round().to(torch.uint8).cpu().numpy():
        small = Image.fromarray(picture).resize((SIDE + 1, SIDE), Image.Resampling.LANCZOS)
        rows = np.asarray(small)
        bits.append((rows[:, 1:] > rows[:, :-1]).reshape(-1))
    return torch.from_numpy(np.stack(bits))


def hamming(a: Tensor, b: Tensor) -> Tensor:
    """How many bits differ, int64: of (..., D) and (..., D) bool, broadcast against each other."""
    return (a != b).sum(-1)
