"""Measure: by what two images are compared, when searching and when refining."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from counterpoint.core.encoder import Encoder
from counterpoint.core.errors import InputError
from counterpoint.registration import refine
from counterpoint.registration.levels import Level, Pyramid, resized
from counterpoint.registration.prepare import Prepared
from counterpoint.registration.represent import categories, intensity, learned, normalized_gradient
from counterpoint.registration.search import Peak, Search

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

    def search(self, spacing: float, linear: list[np.ndarray], overlap: float) -> list[Peak]:
        """Peaks over all shifts and the given linear parts, on pixels of ``spacing``, best first."""
        if self.rough:
            fixed, moving = (at(spacing * COARSER) for at in self.rough)
            return Search(fixed, moving, overlap).run(linear, "mi")
        return Search(self.fixed(spacing), self.moving(spacing), overlap, self.spin).run(linear)


def classical(fixed: Prepared, moving: Prepared) -> list[Measure]:
    """What needs no training, in the order in which it is tried: gradients, then mutual information."""
    measures = []
    for frame in ("strict", "plain", "loose"):
        pyramids = [getattr(p, frame) for p in (fixed, moving)]
        measures.append(Measure(f"gradient{_framed(frame)}", *map(_gradient, pyramids), refine.ncc, spin=True))
    for frame in ("strict", "plain"):
        pyramids = [getattr(p, frame) for p in (fixed, moving)]
        rough = (_at(pyramids[0], categories), _at(pyramids[1], categories))
        measures.append(Measure(f"mutual information{_framed(frame)}", *(_at(p, intensity) for p in pyramids),
                                refine.mutual_information, rough=rough))
    return measures


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
        wanted, found = getattr(network.config, "channels", None), image.small.shape[2]
        if wanted != found:
            raise InputError(f"model: its {role} network was trained on images of {wanted} channels, "
                             f"but {image.image.name} has {found}")
        maps = learned(network, image.small)
        pyramids.append(Pyramid(maps, torch.from_numpy(image.counts.astype(np.float32)), image.matrix))
    return Measure("learned", pyramids[0].at, pyramids[1].at, refine.ncc)


def _framed(frame: str) -> str:
    return {"plain": "", "strict": " without frame", "loose": " without background"}[frame]


def _at(pyramid: Pyramid, represent: Callable[[Level], Level]) -> At:
    return cache(lambda spacing: represent(pyramid.at(spacing)))


def _gradient(pyramid: Pyramid) -> At:
    @cache
    def at(spacing: float) -> Level:
        size = pyramid.at(spacing).mask.shape
        return resized(normalized_gradient(pyramid.at(spacing / POOL)), (size[0], size[1]))

    return at
