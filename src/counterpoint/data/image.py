"""Image: an array with its place in physical space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoint.core.grid import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A 2-D image of one or more channels, in the type it was stored in."""

    array: np.ndarray
    """(H, W) or (H, W, C); bool, integer or float."""
    grid: Grid
    """Where its pixels lie; ``grid.size`` is (W, H)."""
    calibrated: bool = False
    """Whether the spacing was stated by the file or the user (otherwise it is 1 for want of better)."""
    unit: str = "pixel"
    """Unit of the spacing: "pixel", "µm", "mm"."""
    channels: tuple[str, ...] = ()
    """Names of the channels, where known."""
    path: Path | None = None
    """The file it came from."""

    @property
    def name(self) -> str:
        """How messages call it: its file, or "image"."""
        return str(self.path) if self.path else "image"
