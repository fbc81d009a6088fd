"""Grid: where the pixels of a 2-D image lie in physical space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoint.core.errors import InputError

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Size, spacing, origin and direction of an image, all in (x, y) order, as ITK has them.

    The center of pixel (0, 0) lies at ``origin``; a step in x is ``spacing[0]`` along ``direction[:, 0]``.
    """

    size: tuple[int, int]
    """(width, height) in pixels."""
    spacing: Pair = (1.0, 1.0)
    """Physical size of a pixel, > 0."""
    origin: Pair = (0.0, 0.0)
    """Physical position of the center of the first pixel."""
    direction: tuple[Pair, Pair] = ((1.0, 0.0), (0.0, 1.0))
    """Rows of the orthonormal direction matrix."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(s == int(s) > 0 for s in self.size):
            raise InputError(f"size: expected a width and a height of at least 1 pixel, found {self.size}")
        if len(self.spacing) != 2 or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(f"spacing: expected two positive numbers (x, y), found {self.spacing}")
        if len(self.origin) != 2 or not all(np.isfinite(o) for o in self.origin):
            raise InputError(f"origin: expected two finite numbers (x, y), found {self.origin}")
        d = np.asarray(self.direction, float)
        if d.shape != (2, 2) or not np.allclose(d @ d.T, np.eye(2), atol=1e-4):
            raise InputError(f"direction: expected an orthonormal 2×2 matrix, found {self.direction}")

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64: homogeneous pixel (x, y, 1) → physical."""
        m = np.eye(3)
        m[:2, :2] = np.asarray(self.direction, float) @ np.diag(self.spacing)
        m[:2, 2] = self.origin
        return m

    @property
    def corners(self) -> np.ndarray:
        """(4, 2) float64: pixel coordinates (x, y) of the four outermost pixel centers, from (0, 0)."""
        w, h = self.size
        return np.array([(0, 0), (w - 1, 0), (w - 1, h - 1), (0, h - 1)], float)
