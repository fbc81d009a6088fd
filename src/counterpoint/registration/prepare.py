"""Prepare: an image as the search wants it, checked once, of bounded size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.data.image import Image
from counterpoint.data.intensity import gray, unit, valid
from counterpoint.data.pseudocolor import unrolled
from counterpoint.registration.frame import unframed
from counterpoint.registration.levels import Pyramid

MOST = 2048
"""Longest side, in pixels, at which a whole image is held as floats; larger ones are averaged down."""
LEAST = 16
"""Shortest side of an image that can be registered."""
STRIP = 1 << 22
"""Pixels of a large image that are read at a time."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image of the pair."""

    image: Image
    small: np.ndarray
    """(h, w, C) float32 in [0, 1]: the image averaged down to ``MOST`` pixels."""
    counts: np.ndarray
    """(h, w) bool: which of these pixels are finite and inside the user's mask."""
    factor: int
    """How many pixels of the image a pixel of ``small`` is wide."""

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3): pixel of ``small`` → physical."""
        f = self.factor
        return self.image.grid.matrix @ np.array([[f, 0, (f - 1) / 2], [0, f, (f - 1) / 2], [0, 0, 1]])

    @cached_property
    def values(self) -> np.ndarray:
        """``small``, or what it shows by a color map, (h, w, 1)."""
        quantity = unrolled(self.small, self.counts) if self.small.shape[2] == 3 else None
        return self.small if quantity is None else quantity[..., None]

    @cached_property
    def plain(self) -> Pyramid:
        """Intensities, with every pixel that counts."""
        return self._pyramid(self.counts)

    @cached_property
    def strict(self) -> Pyramid:
        """Intensities without a constant frame."""
        return self._pyramid(self._unframed(loose=False))

    @cached_property
    def loose(self) -> Pyramid:
        """Intensities without a nearly flat frame."""
        return self._pyramid(self._unframed(loose=True))

    def _unframed(self, loose: bool) -> np.ndarray:
        """Pixels that count and belong to no frame; all that count, if the frame leaves next to nothing."""
        mask = self.counts & unframed(gray(self.values), loose)
        return mask if mask.sum() >= LEAST * LEAST else self.counts

    def _pyramid(self, mask: np.ndarray) -> Pyramid:
        maps = torch.from_numpy(np.ascontiguousarray(self.values.transpose(2, 0, 1)))
        return Pyramid(maps, torch.from_numpy(mask.astype(np.float32)), self.matrix)


def prepare(image: Image, mask: np.ndarray | None, role: str) -> Prepared:
    """Check an image and average it down.

    Raises:
        InputError: the image is too small, constant, has no finite pixel, or a mask that does not fit.
    """
    h, w = image.array.shape[:2]
    name = f"{role} image{f' {image.path}' if image.path else ''}"
    if min(h, w) < LEAST:
        raise InputError(f"{name}: expected at least {LEAST} × {LEAST} pixels, found {w} × {h}")
    factor = -(-max(h, w) // MOST)
    if min(h, w) // factor < LEAST:
        raise InputError(f"{name}: expected sides of at most 1 to {MOST // LEAST}, found {w} × {h} pixels")
    counts = valid(image.array)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != (h, w):
            raise InputError(f"{role} mask: expected the image's shape {(h, w)}, found {mask.shape}")
        counts = counts & mask.astype(bool)
    kept = _kept(counts, factor)
    if kept.sum() < LEAST * LEAST:
        raise InputError(
            f"{name}: expected at least {LEAST * LEAST * factor**2} finite pixels inside its mask, "
            f"found {int(kept.sum()) * factor**2}"
        )
    small = unit(_averaged(image.array, counts, factor), kept)
    if np.ptp(small[kept], axis=0).max() == 0:
        raise InputError(f"{name}: expected an image with contrast, found the same value at every pixel")
    return Prepared(image, small, kept, factor)


def _blocks(array: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, …) as (h, factor, w, factor, …), without the rows and columns left over."""
    h, w = (n // factor for n in array.shape[:2])
    return array[: h * factor, : w * factor].reshape(h, factor, w, factor, *array.shape[2:])


def _kept(counts: np.ndarray, factor: int) -> np.ndarray:
    return counts if factor == 1 else _blocks(counts, factor).mean((1, 3)) > 0.5


def _averaged(array: np.ndarray, counts: np.ndarray, factor: int) -> np.ndarray:
    """Means of the pixels of blocks that count, a strip of rows at a time."""
    if factor == 1:
        return array
    work = np.result_type(array.dtype, np.float32)
    # Color is told by its type, and stretched so that hues stay.
    kind = array.dtype if array.dtype in (np.uint8, np.uint16) and array.shape[2:] == (3,) else work
    strip = factor * max(1, STRIP // (array.shape[1] * factor))
    out = []
    for top in range(0, array.shape[0] - factor + 1, strip):
        rows = array[top : top + strip].astype(work)
        ok = counts[top : top + strip]
        rows[~ok] = 0
        share = _blocks(ok.astype(np.float32), factor).mean((1, 3))
        mean = _blocks(rows, factor).mean((1, 3))
        mean /= np.maximum(share, 1e-6).reshape(share.shape + (1,) * (mean.ndim - 2))
        out.append((np.rint(mean) if kind != work else mean).astype(kind))
    return np.concatenate(out)
