"""Options: what may be asked of a registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from counterpoint.core.errors import InputError, unknown
from counterpoint.registration.refine import FREE, Kind
from counterpoint.registration.search import poses

USUAL = (0.8, 1.25)
"""Scales that are searched unless others are asked for."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be asked of the search."""

    transform: Kind = "rigid"
    """What may happen between the images: turn and shift (rigid), also scale (similarity), any linear map."""
    angles: tuple[float, float] = (-180.0, 180.0)
    """Range of rotations that is searched, in degrees."""
    scales: tuple[float, float] | None = None
    """Range of scales that is searched (similarity and affine), as sizes in moving over sizes in fixed; by
    default 0.8 to 1.25, and where no spacing is known also around the ratio of the images' sizes."""
    mirror: bool = False
    """Whether the moving image may be a mirror image."""
    overlap: float = 0.3
    """Least share of the smaller image that overlaps."""
    only: bool = False
    """Compare by the given model alone; else what needs no training is tried where it leaves doubts."""
    seed: int = 0
    """Draws the pixels on which large levels are scored."""

    def __post_init__(self) -> None:
        if self.transform not in FREE:
            raise unknown("transform", str(self.transform), FREE)
        if not 0.05 <= self.overlap <= 1:
            raise InputError(f"overlap: expected a share from 0.05 to 1, found {self.overlap}")
        if self.scales and not 0.1 <= self.scales[0] <= self.scales[1] <= 10:
            raise InputError(f"scales: expected two numbers from 0.1 to 10 in order, found {self.scales}")
        if not -360 <= self.angles[0] <= self.angles[1] <= 360:
            raise InputError(f"angles: expected two angles in degrees in order, found {self.angles}")

    @classmethod
    def chosen(cls, transform: Kind, settings: Mapping[str, Any]) -> Self:
        """Options by name, as a user types them; raises ``InputError`` on an unknown one."""
        known = {f.name for f in fields(cls)} - {"transform"}
        for name in settings:
            if name not in known:
                raise unknown("option", str(name), known)
        return cls(transform=transform, **settings)

    def linear(self, step: float = 5.0) -> list[np.ndarray]:
        """The linear parts on which the search stands."""
        if self.transform == "rigid":
            return poses(step, (1.0,), self.mirror, self.angles)
        low, high = np.log(self.scales or USUAL)
        count = max(1, round((high - low) / 0.12) + 1)
        return poses(step, np.exp(np.linspace(low, high, count)).tolist(), self.mirror, self.angles)
