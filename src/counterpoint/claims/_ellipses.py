"""Ellipses whose elongation is to be told, whatever their place, size, direction, brightness and ground."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.claims._trial import trained
from counterpoint.core.encoder import Encoder
from counterpoint.core.method import MethodConfig
from counterpoint.core.rng import generator, seed_all
from counterpoint.core.types import Batch
from counterpoint.data.arrays import Arrays
from counterpoint.data.scenes import noise
from counterpoint.encoders.convnet import ConvNet
from counterpoint.metrics.geometry import spread
from counterpoint.tasks.features import evaluating, standardized
from counterpoint.train.optim import OptimConfig, rate
from counterpoint.views.image import Crops
from counterpoint.views.presets import ManyCrops

SIDE, MOST = 16, 10.0
"""Pixels; the largest target. Targets are continuous from 0, a circle, and equal at no two images."""
COUNT = {"train": 384, "test": 512}
ENCODER = ConvNet.Config(channels=1, width=16)


@dataclass(frozen=True, kw_only=True)
class Square(ManyCrops):
    """Two crops that keep the proportions of what they show."""

    count: int = 2
    size: int = SIDE
    flip: float = 0.5
    area: tuple[float, float] = (0.7, 1.0)

    def crops(self) -> tuple[Crops, ...]:
        """One set."""
        return tuple(replace(crops, ratio=(1.0, 1.0)) for crops in super().crops())


class Measured(Arrays):
    """Images with a number "target" beside each."""

    def __init__(self, image: Tensor, target: Tensor) -> None:
        super().__init__(image, name="ellipses")
        self.target = target
        self.provides |= {"target"}

    def _batch(self, index: Tensor) -> Batch:
        return {**super()._batch(index), "target": self.target[index]}


def ellipses(part: str, *, scarce: float = 0.0) -> Measured:
    """Images and targets, the same for all times; in a "train" part high ones may be scarce.

    ``scarce`` is by how many e-foldings their density falls from 0 to the largest.
    """
    count, rng = COUNT[part], generator(0, "ellipses", part)
    u, drawn = torch.rand(count, generator=rng), torch.randn(count, 4, generator=rng)
    share = -torch.log1p(u * math.expm1(-scarce)) / scarce if scarce else u
    turn = math.pi * torch.rand(count, generator=rng)
    size = 0.36 * (1 + 0.12 * drawn[:, 0].clamp(-2, 2))
    half = math.log(3.5) * share / 2  # of the logarithm of the axes' ratio
    x, y = _places()
    x, y = (axis - 0.1 * drawn[:, i, None, None] for axis, i in ((x, 1), (y, 2)))
    cos, sin, size, stretch = (v[:, None, None] for v in (turn.cos(), turn.sin(), size, half.exp()))
    along, across = (cos * x + sin * y) / (stretch * size), (cos * y - sin * x) / (size / stretch)
    inside = (8 * size * (1 - (along.square() + across.square()).sqrt()) + 0.5).clamp(0, 1)
    bright = (0.5 + 0.1 * drawn[:, 3].clamp(-2, 2))[:, None, None]
    ground = noise(count, SIDE, torch.full((count,), 2.0), torch.zeros(count), rng)
    image = 0.3 + 0.1 * ground + bright * inside + 0.05 * torch.randn(count, SIDE, SIDE, generator=rng)
    return Measured(image.clamp(0, 1)[:, None], MOST * share)


def _places() -> tuple[Tensor, Tensor]:
    axis = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    return x, y


def judged(config: MethodConfig, seed: int, train: Measured, *, steps: int) -> dict[str, float]:
    """Train a method (not at all for 0 steps) and judge its encoder; "order" and "spread": its embedding."""
    method, _ = trained(config, seed, train, steps=steps)
    network, test = method.network("image"), ellipses("test")
    with evaluating(method):
        z = method.get_submodule("projector")(network(test.image))
    return asked(network, train) | {"order": order(z, test.target), "spread": spread(z)}


def asked(network: nn.Module, train: Measured) -> dict[str, float]:
    """Of evenly spread new images the errors of a ridge probe on features, and the order of these."""
    from sklearn.linear_model import RidgeCV

    test = ellipses("test")
    with evaluating(network):
        features = [network(data.image) for data in (train, test)]
    x, x_test = (z.numpy() for z in standardized(*features))
    probe = RidgeCV(alphas=np.logspace(-2, 4, 13)).fit(x, train.target.numpy())
    predicted = torch.from_numpy(probe.predict(x_test))
    return errors(predicted, test) | {"feature_order": order(features[1], test.target)}


def order(z: Tensor, target: Tensor) -> float:
    """Spearman's correlation, over all pairs, of cosine distances with the distances of targets."""
    from scipy.stats import spearmanr

    unit = nn.functional.normalize(z, dim=1)
    i, j = torch.triu_indices(len(unit), len(unit), 1)
    far, apart = 1 - (unit @ unit.T)[i, j], (target[i] - target[j]).abs()
    rho, _ = spearmanr(far.numpy(), apart.numpy())
    return float(rho)  # pyright: ignore[reportArgumentType] -- its stub is wrong


def errors(predicted: Tensor, test: Measured) -> dict[str, float]:
    """Mean absolute errors: of all ("mae"), and of the upper third of the targets ("high")."""
    far = (predicted - test.target).abs()
    return {"mae": float(far.mean()), "high": float(far[test.target > MOST * 2 / 3].mean())}


def regressed(seed: int, train: Measured, *, steps: int, batch: int = 64) -> tuple[Encoder, dict[str, float]]:
    """What contrast must beat: encoder and linear layer trained on the absolute error, and its errors."""
    seed_all(seed, "init")
    network = ENCODER.build()
    model = nn.Sequential(network, nn.Linear(network.out_dim, 1))
    optimizer, optim = torch.optim.Adam(model.parameters()), OptimConfig(lr=2e-3, warmup=0.1)
    views, done = Square().build(), 0
    while done < steps:
        for part in train.epoch(batch, generator(seed, "order", done)):
            crops = views(part, generator(seed, "views", done))
            optimizer.param_groups[0]["lr"] = rate(optim, (done + 0.5) / steps)
            loss = (model(torch.cat([v.x for v in crops]))[:, 0] - part["target"].repeat(2)).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done == steps:
                break
    test = ellipses("test")
    with evaluating(model):
        return network, errors(model(test.image)[:, 0], test)
