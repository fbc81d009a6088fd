"""On pairs: what a study of registration trains on and is judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.data import Data
from counterpoint.core.encoder import Encoder, tapped
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.networks import load_networks
from counterpoint.data.aligned import AlignedPatches, read_aligned
from counterpoint.data.read import read_image
from counterpoint.metrics.geometry import alignment, by_position, effective_rank, spectrum, uniformity
from counterpoint.metrics.similarity import compared
from counterpoint.registration.options import Options
from counterpoint.registration.protocol import Images, Level, drawn_trials
from counterpoint.registration.register import register
from counterpoint.registration.scoring import score, summary

OUTPUT = "output"
"""What the networks return, among the taps."""
POSITIONS = 4000
"""Positions of a map that a spectrum is taken over."""
ALIVE = 1e-4
"""A dimension counts whose singular value is more than this share of the largest."""


@dataclass(frozen=True, kw_only=True)
class OnPairs:
    """Aligned pairs to train on, others to register under the protocol, and how."""

    train: tuple[tuple[str, str], ...]
    """(fixed, moving) files."""
    test: tuple[tuple[str, str, str], ...]
    """(name, fixed, moving)."""
    channels: tuple[int | str | None, int | str | None] = (None, None)
    """The one channel of the fixed and of the moving images, by index or name; none: all."""
    patches: int = 1024
    """Tiles an epoch of training has."""
    levels: tuple[Level, ...] = (1, 2, 3, 4)
    """Levels of displacement."""
    repeats: int = 1
    """Draws per test pair and level."""
    patch: int = 0
    """Side in pixels of the middle part of the test images that is registered; 0 for all of it."""
    seed: int = 0
    """Of the draws."""
    maps: int = 48
    """Patches of the test pairs that features are examined on."""

    def configured(self, method: MethodConfig) -> MethodConfig:
        """The method with the networks' channels as the images have them."""
        first = read_aligned(self.train[:1], *self.channels)[0]
        parts = {role: dataclasses.replace(getattr(method, role), channels=image.shape[2])
                 for role, image in zip(("fixed", "moving"), first, strict=True)}  # fmt: skip
        return dataclasses.replace(method, **parts)

    def data(self, method: Method) -> Data:
        """What the method is trained on."""
        side = getattr(method.views, "tile", 0)
        return AlignedPatches(read_aligned(self.train, *self.channels), side=side, length=self.patches)

    def about(self) -> dict[str, object]:
        """What a run's settings say of the data."""
        return {"pairs": [list(map(str, pair)) for pair in self.train], "patches": self.patches,
                "channels": list(self.channels)}  # fmt: skip

    def judged(self, run: Path, size: int, taps: tuple[str, ...]) -> dict[str, float]:
        """Success of a run's networks under the protocol, over all levels and on each, and its features.

        "success", "success 1" …, "median" (px), "cpu" (s a pair); of every tap "rank" (effective rank of the
        features of single positions), "rank, maps" (of whole maps) and "alive" (share of the dimensions);
        "alignment" and "uniformity" of the output; "partner mse", "partner ssim", "partner correlation".
        """
        networks = load_networks(run)
        patch = (self.patch, self.patch) if self.patch else None
        loaders = {name: partial(self._images, fixed, moving) for name, fixed, moving in self.test}
        trials = drawn_trials(loaders, self.levels, self.seed, self.repeats, patch=patch)
        settings = {"images": list(self.test), "channels": list(self.channels), "patch": self.patch}

        def method(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
            return register(fixed, moving, networks, options=Options(only=True)).matrix

        scores = {s.level: s for s in summary(score(method, trials, run, "registration", settings))}
        total = scores.pop("total")
        found = {"success": total.success / total.of, "median": min(total.median, 1e6), "cpu": total.cpu}
        found |= {f"success {level}": s.success / s.of for level, s in scores.items()}
        return found | described(self.features(networks, size, taps))

    def features(
        self, networks: Mapping[str, Encoder], size: int, taps: tuple[str, ...]
    ) -> dict[str, dict[str, Tensor]]:
        """Tap (and "output") → role → maps (K, D, h, w) of the same K patches of the test pairs."""
        pairs = read_aligned([pair[1:] for pair in self.test], *self.channels)
        found: dict[str, dict[str, Tensor]] = {tap: {} for tap in (*taps, OUTPUT)}
        for i, role in enumerate(("fixed", "moving")):
            x = torch.from_numpy(_tiles([pair[i] for pair in pairs], size, self.maps))
            with torch.no_grad(), tapped(networks[role], taps) as seen:
                found[OUTPUT][role] = networks[role](x)
            for tap in taps:
                found[tap][role] = seen[tap]
        return found

    def _images(self, fixed: str, moving: str) -> Images:
        first, second = (read_image(f, channel=c).array for f, c in zip((fixed, moving), self.channels,
                                                                        strict=True))  # fmt: skip
        return first, second


def described(features: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """Figures of the features, mean over the roles."""
    found: dict[str, float] = {}
    for tap, by_role in features.items():
        spectra = [spectrum(positions(maps)) for maps in by_role.values()]
        ranks = [effective_rank(positions(maps)) for maps in by_role.values()]
        found[f"{tap} rank"] = fmean(ranks)
        found[f"{tap} rank, maps"] = fmean(effective_rank(maps.flatten(1)) for maps in by_role.values())
        found[f"{tap} alive"] = fmean(float((s > ALIVE * s[0]).double().mean()) for s in spectra)
    fixed, moving = features[OUTPUT].values()
    found["alignment"] = alignment(fixed.flatten(1), moving.flatten(1))
    found["uniformity"] = uniformity(torch.cat((fixed, moving)).flatten(1))
    return found | {f"partner {name}": value for name, value in compared(fixed, moving).items()}


def positions(maps: Tensor) -> Tensor:
    """(N, D): the features of at most ``POSITIONS`` positions, evenly taken, of maps (K, D, h, w)."""
    rows = by_position(maps)
    return rows[:: -(-len(rows) // POSITIONS)]


def _tiles(images: list[np.ndarray], size: int, most: int) -> np.ndarray:
    """(K, C, size, size): the same places in images of one layout, evenly taken, none overlapping."""
    tiles = [image[y : y + size, x : x + size]
             for image in images
             for y in range(0, image.shape[0] - size + 1, size)
             for x in range(0, image.shape[1] - size + 1, size)]  # fmt: skip
    some = tiles[:: max(1, -(-len(tiles) // most))]
    return np.ascontiguousarray(np.stack(some).transpose(0, 3, 1, 2))
