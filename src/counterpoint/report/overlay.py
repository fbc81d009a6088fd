"""Overlay: arrays of any kind → pictures for the eye, and two of them laid over each other."""

from __future__ import annotations

import numpy as np

from counterpoint.core.errors import InputError

PERCENTILES = (0.5, 99.5)
"""What is shown as black and as white."""
SAMPLE = 1_000_000
"""About how many pixels the percentiles are read from."""


def display(array: np.ndarray) -> np.ndarray:
    """A picture of an array: (H, W[, C]) bool, integer or real → (H, W, 3) uint8.

    One channel is shown gray; two as magenta and green; three as RGB on one common scale; of more, the first
    three, each on a scale of its own (their units differ). A scale runs from the 0.5th to the 99.5th
    percentile; false and true are black and white, a constant is mid-gray, what is not finite is black.

    Raises:
        InputError: if the array is not such an image, or is empty.
    """
    array = _image(array)
    channels = array.shape[2]
    if channels == 1:
        unit = _stretch(array).repeat(3, axis=2)
    elif channels == 2:
        unit = _stretch_each(array)[..., [0, 1, 0]]
    else:
        unit = _stretch(array) if channels == 3 else _stretch_each(array[..., :3])
    return _bytes(unit)


def false_color(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Two images in one, fixed magenta, moving green, gray where they agree: → (H, W, 3) uint8.

    Each (H, W[, C]) is reduced to the mean of its channels and stretched as in ``display``; the two colors
    differ in lightness as well, so that the color-blind can tell them apart.

    Raises:
        InputError: if the two differ in height or width.
    """
    _same_size(fixed, moving)
    magenta, green = (_stretch(_image(a).mean(axis=2, keepdims=True, dtype=float)) for a in (fixed, moving))
    return _bytes(np.concatenate([magenta, green, magenta], axis=2))


def checkerboard(fixed: np.ndarray, moving: np.ndarray, tiles: int = 8) -> np.ndarray:
    """Squares of two images in turn, fixed at the top left: (H, W[, C]) → (H, W, 3) uint8.

    ``tiles`` (≥ 1) is the number of squares along the longer side.

    Raises:
        InputError: if the two differ in height or width, or ``tiles`` is below 1.
    """
    _same_size(fixed, moving)
    if tiles < 1:
        raise InputError(f"tiles: expected at least 1, found {tiles}")
    height, width = fixed.shape[:2]
    side = -(-max(height, width) // tiles)
    y, x = np.ogrid[:height, :width]
    first = (y // side + x // side) % 2 == 0
    return np.where(first[..., None], display(fixed), display(moving))


def shrink(array: np.ndarray, longest: int) -> np.ndarray:
    """An image of at most ``longest`` (≥ 1) pixels per side, by area averaging; never enlarged.

    (H, W[, C]) → (h, w[, C]) of the same dtype, (h, w) = (H, W) · longest / max(H, W), rounded. A new pixel
    is the mean of the finite values under it, each weighted by the area it shares with the new pixel; it is
    NaN where there are none.

    Raises:
        InputError: if the array is not an image, or ``longest`` is below 1.
    """
    if longest < 1:
        raise InputError(f"longest: expected at least 1 pixel, found {longest}")
    planes = _image(array)
    height, width, channels = planes.shape
    h, w = shrunk_size(height, width, longest)
    if (h, w) == (height, width):
        return array
    rows, columns = _averaging(height, h), _averaging(width, w)
    out = np.empty((h, w, channels))
    for c in range(channels):  # one at a time: a whole slide in float64 would not fit beside itself
        plane = planes[..., c]
        if array.dtype.kind == "f" and not (known := np.isfinite(plane)).all():
            value = (columns @ (rows @ np.where(known, plane, 0)).T).T
            weight = (columns @ (rows @ known).T).T
            out[..., c] = np.divide(value, weight, out=np.full((h, w), np.nan), where=weight > 0)
        else:
            out[..., c] = (columns @ (rows @ plane).T).T
    if array.dtype.kind == "b":
        out = out >= 0.5
    elif array.dtype.kind in "iu":
        out = np.rint(out)
    return out.astype(array.dtype).reshape(h, w, *array.shape[2:])


def shrunk_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """(height, width) after ``shrink``."""
    factor = min(1.0, longest / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _image(array: np.ndarray) -> np.ndarray:
    """``array`` as (H, W, C)."""
    array = np.asarray(array)
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf" or array.size == 0:
        found = f"{array.dtype} {array.shape}"
        raise InputError(f"picture: expected (H, W) or (H, W, C) of bool, integers or reals, found {found}")
    return array[..., None] if array.ndim == 2 else array


def _same_size(fixed: np.ndarray, moving: np.ndarray) -> None:
    if np.shape(fixed)[:2] != np.shape(moving)[:2]:
        found = f"{np.shape(fixed)} and {np.shape(moving)}"
        raise InputError(f"overlay: expected two images of the same height and width, found {found}")


def _stretch(array: np.ndarray) -> np.ndarray:
    """(H, W, C) → float64 in [0, 1] on one common scale."""
    if array.dtype.kind == "b":
        return array.astype(np.float64)
    step = max(1, int((array.shape[0] * array.shape[1] / SAMPLE) ** 0.5))
    sample = array[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return np.zeros(array.shape)
    low, high = np.percentile(sample, PERCENTILES)
    if low == high:  # a few bright spots on an even ground: they are the picture
        low, high = float(sample.min()), float(sample.max())
    known = np.isfinite(array)
    if low == high:
        return np.where(known, 0.5, 0.0)
    return np.clip((np.where(known, array, low).astype(np.float64) - low) / (high - low), 0, 1)


def _stretch_each(array: np.ndarray) -> np.ndarray:
    return np.concatenate([_stretch(array[..., c : c + 1]) for c in range(array.shape[2])], axis=2)


def _bytes(unit: np.ndarray) -> np.ndarray:
    return np.rint(unit * 255).astype(np.uint8)


def _averaging(n: int, m: int):
    """Sparse (m, n): averages n pixels into m ≤ n equal stretches, pixels on an edge by the share inside."""
    from scipy.sparse import csr_array

    edges = np.linspace(0, n, m + 1)
    cuts = np.union1d(np.arange(n + 1), edges)
    middle = (cuts[1:] + cuts[:-1]) / 2
    row = np.clip(np.searchsorted(edges, middle) - 1, 0, m - 1)
    return csr_array((np.diff(cuts) * m / n, (row, middle.astype(int))), shape=(m, n))
