"""Intensities: into [0, 1], which pixels count, and one gray value per pixel."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

LOW, HIGH = 0.5, 99.5
"""Percentiles that become 0 and 1: a few hot or dead pixels do not set the contrast."""
SAMPLED = 10**6
"""Pixels from which percentiles are taken at the most, on a regular grid."""
_WIDE = 1e30
"""A range beyond which float32 could overflow."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def unit(array: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """An image stretched to [0, 1], (H, W, C) float32, clipped at its percentiles 0.5 and 99.5.

    The percentiles are those of finite pixels where ``mask`` is true. Color (uint8 or uint16 of three
    channels) is stretched together, so that hues stay; other channels each for itself. Where the percentiles
    coincide the minimum and maximum take their place, and a constant channel becomes 0. Pixels that are not
    finite become 0.

    Args:
        array: (H, W) or (H, W, C), bool, integer or float.
        mask: (H, W) bool, or None for all pixels.
    """
    return stretcher(array, mask)(array)


def stretcher(array: np.ndarray, mask: np.ndarray | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """What ``unit`` does to ``array``, as a function of any block of it: a large image goes tile by tile."""
    whole = array if array.ndim == 3 else array[..., None]
    color = whole.shape[2] == 3 and whole.dtype in (np.uint8, np.uint16)
    parts = [slice(None)] if color else [slice(c, c + 1) for c in range(whole.shape[2])]
    ranges = [(part, *_range(whole[..., part], mask)) for part in parts]

    def stretch(block: np.ndarray) -> np.ndarray:
        block = block if block.ndim == 3 else block[..., None]
        out = np.empty(block.shape, np.float32)
        for part, low, high in ranges:
            out[..., part] = _stretched(block[..., part], low, high)
        return out

    return stretch


def valid(array: np.ndarray) -> np.ndarray:
    """(H, W) bool: finite in all channels of (H, W[, C])."""
    finite = np.isfinite(array)
    return finite if array.ndim == 2 else np.all(finite, axis=2)


def gray(array: np.ndarray) -> np.ndarray:
    """(H, W) float32 in the units of (H, W[, C]): luminance of three channels, else the channels' mean."""
    if array.ndim == 2:
        return array.astype(np.float32)
    weights = LUMINANCE if array.shape[2] == 3 else (1 / array.shape[2],) * array.shape[2]
    out = np.zeros(array.shape[:2], np.float32)
    for channel, weight in enumerate(weights):  # one channel at a time: no float copy of a large image
        out += array[..., channel] * np.float32(weight)
    return out


def _range(array: np.ndarray, mask: np.ndarray | None) -> tuple[float, float]:
    step = math.ceil(math.sqrt(array.shape[0] * array.shape[1] / SAMPLED))
    values = _counted(array[::step, ::step], None if mask is None else mask[::step, ::step])
    if values.size:
        low, high = np.percentile(values, (LOW, HIGH)).tolist()
        if low < high:
            return low, high
    values = _counted(array, mask)  # rare bright pixels, or a mask so thin that the sample missed it
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _counted(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Finite values under the mask, flat; at least as fine as float32."""
    values = array.ravel() if mask is None else array[mask.astype(bool)].ravel()
    values = values[np.isfinite(values)]
    return values.astype(_precise(array.dtype))


def _stretched(array: np.ndarray, low: float, high: float) -> np.ndarray:
    if not low < high:
        return np.zeros(array.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        out = array.astype(np.float64 if high - low > _WIDE else _precise(array.dtype))
        out -= low
        out /= high - low
    np.clip(out, 0, 1, out=out)
    out[~np.isfinite(array)] = 0
    return out.astype(np.float32, copy=False)


def _precise(dtype: np.dtype) -> type:
    """A float that holds the values of ``dtype`` closely enough to subtract them."""
    return np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
