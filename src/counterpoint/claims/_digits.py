"""The small trial that claims on images share: train on digits, ask frozen features."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor, nn

from counterpoint.core.method import Method, MethodConfig
from counterpoint.core.task import Networks
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.encoders.convnet import ConvNet
from counterpoint.tasks.features import features
from counterpoint.tasks.geometry import Geometry
from counterpoint.tasks.knn import KNN
from counterpoint.tasks.linear_probe import LinearProbe
from counterpoint.train.config import TrainConfig
from counterpoint.train.loop import fit, fresh
from counterpoint.train.optim import OptimConfig

SIDE = 16
"""Pixels of the digits."""
ENCODER = ConvNet.Config(channels=1, width=16)
DRAWS = 10
"""Draws of the few labels; one draw of five per class says little."""
DIFFERS = (
    "Digits of scikit-learn at 16 pixels, a small network, {epochs} epochs with Adam; judged by "
    "nearest neighbors and by a ridge probe on 5 labels per class, mean of 10 draws. Crops are not mirrored: "
    "digits have sides."
)


def judged(
    config: MethodConfig, seed: int, *, epochs: int = 20, batch: int = 64, lr: float = 2e-3
) -> dict[str, float]:
    """Train a method (not at all for 0 epochs) and judge its encoder; some 10 seconds on one core."""
    train, test = digits("train", size=SIDE), digits("test", size=SIDE)
    method = fresh(config, seed)
    if epochs:
        settings = TrainConfig(
            epochs=epochs, batch=batch, seed=seed, log_every=1000, device="cpu",
            optim=OptimConfig(name="adam", lr=lr, weight_decay=0.0, warmup=0.1),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            fit(method, train, settings, folder, progress=False)
    return asked(method.network, train, test, seed) | embedded(method, test)


def pixels(seed: int) -> dict[str, float]:
    """The judges' answer for raw pixels: what no network at all is worth."""
    return asked(lambda _role: nn.Flatten(), digits("train", size=SIDE), digits("test", size=SIDE), seed)


def asked(network: Networks, train: Arrays, test: Arrays, seed: int) -> dict[str, float]:
    """k-nearest-neighbor accuracy, accuracy from 5 labels per class, effective rank of the features."""
    a, b = features(network("image"), train), features(network("image"), test)
    probe = LinearProbe(LinearProbe.Config(labels="5/class"))
    few = fmean(probe.judge(a, b, 100 * seed + draw)["accuracy"] for draw in range(DRAWS))
    knn = KNN(KNN.Config()).judge(a, b)["accuracy"]
    rank = Geometry.Config().build()(network, train, test, seed)["effective_rank"]
    return {"knn": knn, "few": few, "rank": rank}


def embedded(method: Method, test: Arrays) -> dict[str, float]:
    """How the embedding after the projector lies, where the method has one."""
    projector = getattr(method, "projector", getattr(method, "expander", None))
    if projector is None:
        return {}
    with torch.no_grad():
        method.eval()
        z: Tensor = projector(method.network("image")(test.image))
    spread = nn.functional.normalize(z, dim=1).std(0, correction=0).mean() * z.shape[1] ** 0.5
    return {"spread": float(spread), **_rank(z)}


def _rank(z: Tensor) -> Mapping[str, float]:
    from counterpoint.metrics.geometry import effective_rank

    return {"embedding_rank": float(effective_rank(z))}
