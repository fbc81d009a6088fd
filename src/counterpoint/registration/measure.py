"""Measure: by what two images are compared, when searching and when refining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.data.intensity import stretcher
from counterpoint.registration import refine
from counterpoint.registration.levels import Level, Pyramid, resized
from counterpoint.registration.prepare import Prepared
from counterpoint.registration.represent import categories, intensity, learned, normalized_gradient
from counterpoint.registration.search import Peak, Search

Frame = Literal["plain", "strict", "loose"]
FRAMES: dict[Frame, str] = {"plain": "", "strict": " without frame", "loose": " without background"}
At = Callable[[float], Level]
"""Pixel size → level."""

POOL = 4
"""Gradients are taken at pixels this much finer than those they are compared at: averaging their directions
keeps thin structures (vessels, fibers) that averaging the image would lose, as in histograms of gradients."""
COARSER = 1.6
"""Mutual information by FFT costs a transform per pair of categories and needs less detail."""


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """Two representations and the score that compares them."""

    name: str
    fixed: At
    moving: At
    score: refine.Score
    spin: bool = False
    """The maps are double-angle channels, which turn with the image."""
    rough: tuple[At, At] | None = None
    """Category maps to search by mutual information; none: the search correlates the maps themselves."""
    whole: bool = True
    """Every pixel that counts takes part: no frame or background is left out."""

    def search(self, spacing: float, linear: list[np.ndarray], overlap: float) -> list[Peak]:
        """Peaks over all shifts and the given linear parts, on pixels of ``spacing``, best first."""
        if self.rough:
            fixed, moving = (at(spacing * COARSER) for at in self.rough)
            return Search(fixed, moving, overlap).run(linear, "mi")
        return Search(self.fixed(spacing), self.moving(spacing), overlap, self.spin).run(linear)


def gradient(fixed: Prepared, moving: Prepared, frame: Frame = "plain") -> Measure:
    """Directions of normalized gradients, correlated."""
    pyramids = _pyramids(fixed, moving, frame)
    return Measure(
        f"gradient{FRAMES[frame]}",
        pooled(pyramids[0], normalized_gradient),
        pooled(pyramids[1], normalized_gradient),
        refine.ncc,
        spin=True,
        whole=frame == "plain",
    )


def mutual_information(fixed: Prepared, moving: Prepared, frame: Frame = "plain") -> Measure:
    """Mutual information of gray values; of categories of (color) values in the search."""
    pyramids = _pyramids(fixed, moving, frame)
    (fine_f, rough_f), (fine_m, rough_m) = ((_at(p, intensity), _at(p, categories)) for p in pyramids)
    name = f"mutual information{FRAMES[frame]}"
    rough = rough_f, rough_m
    return Measure(name, fine_f, fine_m, refine.mutual_information, rough=rough, whole=frame == "plain")


def raw(fixed: Prepared, moving: Prepared) -> Measure:
    """Gray values, correlated: what works within one modality."""
    return Measure("intensity", _at(fixed.plain, intensity), _at(moving.plain, intensity), refine.ncc)


def classical(fixed: Prepared, moving: Prepared) -> list[Measure]:
    """What needs no training, in the order in which it is tried: gradients, then mutual information."""
    return [
        *(gradient(fixed, moving, frame) for frame in ("strict", "plain", "loose")),
        *(mutual_information(fixed, moving, frame) for frame in ("strict", "plain")),
    ]


def trained(fixed: Prepared, moving: Prepared, networks: Mapping[str, Encoder]) -> Measure:
    """The maps of a trained model, its networks for the roles "fixed" and "moving".

    Raises:
        InputError: the model lacks a role or was trained for another number of channels.
    """
    pyramids = []
    for role, image in (("fixed", fixed), ("moving", moving)):
        if role not in networks:
            raise InputError(f"model: expected a network for the {role} image, found {', '.join(networks)}")
        network = networks[role]
        array = image.image.array
        wanted, found = getattr(network.config, "channels", None), image.small.shape[2]
        if wanted != found:
            raise InputError(
                f"model: its {role} network was trained on images of {wanted} channels, "
                f"but {image.image.name} has {found}"
            )
        # At full resolution, as it was trained, however large: tile by tile, then averaged down.
        stretch = stretcher(array, image.counts if image.factor == 1 else None)
        maps = learned(
            network,
            array if array.ndim == 3 else array[..., None],
            image.factor,
            stretch,
            margin=min(128, 16 * network.multiple),
        )
        pyramids.append(Pyramid(maps, torch.from_numpy(image.counts.astype(np.float32)), image.matrix))
    return Measure("learned", pyramids[0].at, pyramids[1].at, refine.ncc)


def _pyramids(fixed: Prepared, moving: Prepared, frame: Frame) -> tuple[Pyramid, Pyramid]:
    return getattr(fixed, frame), getattr(moving, frame)


def _at(pyramid: Pyramid, represent: Callable[[Level], Level]) -> At:
    return cache(lambda spacing: represent(pyramid.at(spacing)))


def pooled(pyramid: Pyramid, represent: Callable[[Level], Level], finer: float = POOL) -> At:
    """Levels represented at pixels ``finer`` times as fine as asked for, then averaged."""

    @cache
    def at(spacing: float) -> Level:
        size = pyramid.at(spacing).mask.shape
        return resized(represent(pyramid.at(spacing / finer)), (size[0], size[1]))

    return at
