"""Frame: what surrounds the picture proper and moves with the instrument, not with the object.

The black corners of a fundus camera, the empty canvas around a turned image: their sharp edges would win any
comparison of gradients, and say nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

STRICT, LOOSE = 0.006, 0.05
"""How much a 3×3 neighborhood of a frame may vary, as a share of the image's range."""


def unframed(gray: np.ndarray, loose: bool = False) -> np.ndarray:
    """(H, W) bool: the pixels of (H, W) ``gray`` that do not belong to a flat frame around the picture.

    Strict: constant regions that touch the border. Loose: also nearly flat ones, if nearly the darkest or
    the brightest of the image. All true where there is no such frame, or where it would be nearly everything.
    """
    low, high = np.percentile(gray, (0.5, 99.5))
    extent = max(float(high - low), 1e-12)
    vary = ndimage.maximum_filter(gray, 3) - ndimage.minimum_filter(gray, 3)
    flat = vary <= STRICT * extent
    if loose:
        flat |= (vary <= LOOSE * extent) & ((gray < low + 0.06 * extent) | (gray > high - 0.03 * extent))
    regions = np.empty(gray.shape, np.int32)
    count = int(ndimage.label(flat, output=regions))  # pyright: ignore[reportArgumentType] -- given an output, it returns the count
    border = np.concatenate((regions[0], regions[-1], regions[:, 0], regions[:, -1]))
    size = np.bincount(regions.ravel(), minlength=count + 1)
    part = np.isin(np.arange(count + 1), border) & (size > 0.002 * gray.size)
    part[0] = False
    frame = np.asarray(ndimage.binary_dilation(part[regions], iterations=3))
    share = float(frame.mean())
    return np.logical_not(frame) if 0.003 < share < 0.85 else np.ones(gray.shape, bool)
