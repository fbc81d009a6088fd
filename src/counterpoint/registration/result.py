"""Registration: what ``register`` gives back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from counterpoint.data.image import Image
from counterpoint.registration.transform import Transform
from counterpoint.registration.warp import Order, overlap, warp

if TYPE_CHECKING:
    from counterpoint.registration.measure import Measure
    from counterpoint.registration.quality import Quality


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The transform between two images, and how sure it is."""

    transform: Transform
    """Fixed physical points → moving physical points."""
    quality: Quality
    """The figures behind ``quality.trusted``."""
    fixed: Image
    moving: Image
    measure: Measure
    """By what the images were compared."""
    seconds: float
    """Wall time it took."""

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64: fixed pixel (x, y, 1) → moving pixel, 0-based."""
        return self.transform.pixels(self.fixed.grid, self.moving.grid)

    def warp(
        self,
        image: Image | np.ndarray | None = None,
        *,
        labels: bool = False,
        order: Order = "linear",
        outside: float = 0,
    ) -> Image:
        """An image on the moving grid, resampled onto the fixed image's pixels; by default the moving image.

        ``labels`` takes the nearest pixel, so that no label is invented. Raises ``InputError`` if an array
        has not the moving image's height and width.
        """
        if image is None:
            image = self.moving
        elif isinstance(image, np.ndarray):
            image = Image(image, self.moving.grid, self.moving.calibrated, self.moving.unit)
        return warp(image, self.transform, self.fixed.grid, labels=labels, order=order, outside=outside)

    def map_points(self, points: np.ndarray, *, pixels: bool = False) -> np.ndarray:
        """Where (N, 2) points (x, y) of the fixed image lie in the moving image.

        Physical coordinates, or pixel coordinates (0-based, centers at integers) if ``pixels``. For points of
        the moving image use ``inverse()``.
        """
        if not pixels:
            return self.transform.map_points(points)
        return Transform(self.matrix, "affine").map_points(points)

    def inverse(self) -> Registration:
        """The same registration with the roles of the images exchanged."""
        back, fixed, moving = self.transform.inverse(), self.moving, self.fixed
        agreement = self.quality.agreement * np.sqrt(abs(np.linalg.det(self.matrix[:2, :2])))
        quality = replace(
            self.quality,
            overlap=overlap(back, fixed.grid, moving.grid),
            agreement=float(agreement),
            share=float(agreement / fixed.grid.size[0]),
        )
        m = self.measure
        measure = replace(m, fixed=m.moving, moving=m.fixed, rough=m.rough and m.rough[::-1])
        return Registration(back, quality, fixed, moving, measure, self.seconds)

    def compose(self, first: Registration) -> Transform:
        """From ``first``'s fixed image through its moving image, our fixed one, to our moving image."""
        return self.transform.compose(first.transform)

    def save(self, path: Path | str, dimension: Literal[2, 3] = 2) -> None:
        """Write the transform: ``.tfm``, ``.h5`` (ITK) or ``.json``; in 3 dimensions for 3D Slicer."""
        self.transform.save(Path(path), dimension)

    def report(self, path: Path | str) -> None:
        """Write a self-contained HTML page with overlays, representations and figures of trust."""
        from counterpoint.registration.report import write_report

        write_report(self, Path(path))
