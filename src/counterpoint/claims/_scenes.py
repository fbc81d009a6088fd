"""Scenes of several things with known places, and judges that ask every cell of a map what lies there."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.claims._trial import trained
from counterpoint.core.encoder import Encoder
from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.rng import generator
from counterpoint.data.arrays import Arrays
from counterpoint.encoders.convnet import ConvNet
from counterpoint.heads.maps import Tap
from counterpoint.metrics.clustering import ari
from counterpoint.metrics.geometry import effective_rank
from counterpoint.tasks.features import Embedded, evaluating
from counterpoint.tasks.linear_probe import LinearProbe
from counterpoint.views.presets import ManyCrops

SIDE, CELL, CLASSES = 48, 8, 8
"""Pixels of a scene; pixels that a cell of the network's last map stands for; how many materials."""
COUNT = {"train": 480, "test": 160}
"""How many scenes."""
GROUND = CLASSES
"""The class of the ground, which is no material."""
ENCODER = ConvNet.Config(channels=1, width=16)
VIEWS = ManyCrops(count=2, size=SIDE, flip=0.0, area=(0.3, 1.0))
"""Mirrored, a material would be another one."""
DIFFERS = (
    "480 drawn scenes of 48 pixels, two to four disks of eight materials (sums of two waves) on a clouded "
    "ground; three convolutions, whose last map has 6 × 6 cells; {steps} steps of 32 with Adam; in all arms "
    "the same crops, of 30 % and more, not mirrored; the teacher's momentum begins at 0.97. Cells that a "
    "material covers are judged by a ridge probe."
)


def scenes(part: str) -> tuple[Arrays, Tensor]:
    """Pictures, and (N, 36) what covers most of each cell, row by row. Always the same.

    Two to four disks lie on a clouded ground, each of one of eight materials: the sum of two waves, whose
    directions and lengths are the material's, but not their phases, their strength and a small turn.
    """
    count, rng = COUNT[part], generator(0, "scenes", part)
    law = torch.rand(CLASSES, 4, generator=generator(0, "materials"))
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = 0.3 + 0.4 * _clouds(count, rng)
    truth = torch.full((count, SIDE, SIDE), GROUND)
    rank = torch.rand(count, 4, generator=rng).argsort(1)
    number = torch.randint(2, 5, (count, 1), generator=rng)
    for quarter in range(4):
        there = (rank[:, quarter, None] < number)[..., None]
        label = torch.randint(CLASSES, (count,), generator=rng)
        u = torch.rand(count, 8, 1, 1, generator=rng)
        wave = torch.zeros(count, SIDE, SIDE)
        for w in range(2):
            angle = math.pi * law[label, 2 * w, None, None] + 0.2 * (u[:, 0] - 0.5)
            pace = 2 * math.pi / (4 + 5 * law[label, 2 * w + 1, None, None])
            wave += (pace * (angle.cos() * x + angle.sin() * y) + 2 * math.pi * u[:, 1 + w]).cos()
        cx, cy = 24 * (quarter % 2) - 12 + 6 * (u[:, 3] - 0.5), 24 * (quarter // 2) - 12 + 6 * (u[:, 4] - 0.5)
        disk = there & ((x - cx) ** 2 + (y - cy) ** 2 < (9 + 3 * u[:, 5]) ** 2)
        image = torch.where(disk, 0.3 + 0.4 * u[:, 6] + (0.12 + 0.12 * u[:, 7]) * wave, image)
        truth = torch.where(disk, label[:, None, None], truth)
    image = image + 0.03 * torch.randn(image.shape, generator=rng)
    return Arrays(image[:, None].clamp(0, 1), name="scenes"), by_cell(truth)


def by_cell(truth: Tensor) -> Tensor:
    """(N, SIDE, SIDE) classes → (N, cells): the one with more than half of a cell's pixels, or the ground."""
    tiles = truth.unfold(1, CELL, CELL).unfold(2, CELL, CELL).flatten(3).flatten(1, 2)
    most = tiles.mode(-1).values
    return torch.where(2 * (tiles == most[..., None]).sum(-1) > CELL**2, most, GROUND)


def maps(network: nn.Module, data: Arrays) -> Tensor:
    """(N, D, 6, 6): what a network says of each cell of each picture."""
    assert isinstance(network, Encoder)
    with evaluating(network):
        return torch.cat([Tap(network)(part["image"]) for part in data.parts(64)])


def probed(network: nn.Module, seed: int) -> dict[str, float]:
    """Accuracy of a linear probe on cells of a material, from all labels and from 10 of each class.

    Also "rank", the effective rank of these cells' features, and "smooth", how much more alike neighbors of
    one material are than cells of different scenes: differences of cosines, less the mean feature.
    """
    train, test = (_labelled(network, part) for part in ("train", "test"))
    few = LinearProbe(LinearProbe.Config(labels="10/class"))
    return {
        "cells": LinearProbe(LinearProbe.Config()).judge(train, test, seed)["accuracy"],
        "few": fmean(few.judge(train, test, 100 * seed + draw)["accuracy"] for draw in range(10)),
        "rank": effective_rank(test.z),
        "smooth": _smooth(test),
    }


def grouping(
    network: nn.Module, seed: int, groups: Tensor | None = None, count: int = 16
) -> dict[str, float]:
    """How well groups of cells, (N, 36), agree with materials; k-means of the features without them.

    "ari" of cells of a material, "ari with ground" of all cells, "k-means" the first for k-means in any case,
    "groups" how many are used.
    """
    data, truth = scenes("test")
    z, label = _rows(maps(network, data)), truth.flatten().numpy()
    by_features = _clustered(z, count, seed)
    found = by_features if groups is None else groups.flatten().numpy()
    here = label != GROUND
    return {
        "ari": ari(found[here], label[here]),
        "ari with ground": ari(found, label),
        "k-means": ari(by_features[here], label[here]),
        "groups": float(len(set(found.tolist()))),
    }


def learned(
    config: MethodConfig, seed: int, *, steps: int, lr: float = 5e-3
) -> tuple[Method, dict[str, float]]:
    """A method trained on the scenes (not at all for 0 steps), and its last notes."""
    method, log = trained(config, seed, scenes("train")[0], steps=steps, batch=32, lr=lr)
    return method, dict(log[-1]["notes"]) if log else {}


def _rows(found: Tensor) -> Tensor:
    """(N, D, H, W) → (N·H·W, D)."""
    return found.flatten(2).mT.flatten(0, 1)


def _clustered(z: Tensor, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    unit = nn.functional.normalize(z - z.mean(0), dim=1).double().numpy()
    model = KMeans(count, n_init=3, random_state=seed)  # pyright: ignore[reportArgumentType] -- its stub is wrong
    return model.fit_predict(unit)


def _smooth(test: Embedded) -> float:
    assert test.label is not None
    unit = nn.functional.normalize(test.z - test.z.mean(0), dim=1)
    beside = (test.id[1:] == test.id[:-1] + 1) & (test.label[1:] == test.label[:-1])
    alike = (unit[1:] * unit[:-1]).sum(1)[beside & (test.id[1:] % (SIDE // CELL) > 0)]
    return float(alike.mean() - unit.mean(0).square().sum())


def _labelled(network: nn.Module, part: str) -> Embedded:
    data, truth = scenes(part)
    z, label = _rows(maps(network, data)), truth.flatten()
    here = (label != GROUND).nonzero().flatten()
    return Embedded(z[here], here, label[here])


def _clouds(count: int, rng: torch.Generator) -> Tensor:
    """(count, SIDE, SIDE) in [0, 1]: a smooth ground, another in each picture."""
    coarse = torch.rand(count, 1, 5, 5, generator=rng)
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=True)
    return smooth[:, 0].clamp(0, 1)
