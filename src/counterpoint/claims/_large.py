"""The small trial that claims on optimizers share: a classifier of digits, every rate tuned by validation.

Cross-entropy, because a contrastive loss is another one in each size of batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoint.core.rng import generator, seed_all
from counterpoint.data.arrays import Arrays
from counterpoint.data.digits import digits
from counterpoint.encoders.convnet import ConvNet
from counterpoint.metrics.classes import accuracy
from counterpoint.train import optim
from counterpoint.train.large import ascended
from counterpoint.train.optim import OptimConfig

T = TypeVar("T")
Score = tuple[float, ...]
"""What rates are chosen by, from the first number on; less is better."""
TRAIN, VALIDATION, EPOCHS, SMALL, LARGE = 512, 512, 20, 16, 512
"""Samples to train on and to choose rates by, the others are the test; epochs; smallest and largest batch."""
WARMUPS = (0.0, 0.2, 0.5)
"""Shares of the training that are tried for the warm-up, where it is not what is asked about."""
SGD = OptimConfig(name="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, warmup=0.2)
FACTOR = 2.0
"""Between rates that are tried."""
DIFFERS = (
    "Digits of scikit-learn at 8 pixels, 512 to train on, 512 to choose rates by, 773 as the test; a network "
    "of three convolutions with batch normalization, cross-entropy, 20 epochs; batches of 16 to 512, which "
    "is all there is. Rates fall on a half cosine and are chosen for each arm by accuracy on the second 512, "
    "a factor of 2 apart, going on from the better neighbor until it is the best."
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained."""

    optim: OptimConfig = SGD
    batch: int = SMALL
    updates: int = 0
    """As many updates; 0 for 20 epochs."""
    ghost: int = 0
    """Rows that a batch normalization sees at a time; 0 for the batch."""

    @property
    def length(self) -> int:
        """Updates in all."""
        return self.updates or EPOCHS * (TRAIN // self.batch)


@dataclass(frozen=True, slots=True)
class Trained:
    """A network and the rate it was trained with."""

    network: nn.Module
    rate: float
    data: dict[str, Arrays]
    updates: int

    def numbers(self) -> dict[str, float]:
        """Accuracy on the test, loss and sharpness on what it was trained on, rate, updates."""
        train, test = self.data["train"], self.data["test"]
        return {
            "accuracy": right(self.network, test)[0],
            "loss": right(self.network, train)[1],
            "sharpness": sharpness(self.network, train),
            "rate": self.rate,
            "updates": float(self.updates),
        }


def parts(seed: int) -> dict[str, Arrays]:
    """Digits to train on, for "validation" and for the "test", drawn anew for each seed."""
    whole = digits(size=8)
    rows = torch.randperm(len(whole), generator=generator(seed, "parts"))
    names, sizes = ("train", "validation", "test"), (TRAIN, VALIDATION, len(whole) - TRAIN - VALIDATION)
    return {name: whole.subset(some) for name, some in zip(names, rows.split(sizes), strict=True)}


def network(seed: int, width: int = 8) -> nn.Module:
    """A new network."""
    with torch.random.fork_rng(devices=[]):
        seed_all(seed, "init")
        return nn.Sequential(ConvNet(ConvNet.Config(channels=1, width=width)), nn.Linear(4 * width, 10))


def batches(train: Arrays, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels, epoch after epoch without end."""
    epoch = 0
    while True:
        for batch in train.epoch(size, generator(seed, "order", epoch)):
            yield batch["image"], batch["label"]
        epoch += 1


def trained(recipe: Recipe, seed: int, data: dict[str, Arrays]) -> Trained:
    """A network after the updates of a recipe, by the library's optimizers and rates."""
    net, config = network(seed), optim.scaled(recipe.optim, recipe.batch)
    made, source = optim.optimizer(net, config), batches(data["train"], recipe.batch, seed)

    def gradient(image: Tensor, label: Tensor) -> None:
        net.zero_grad()
        seen = [net(rows) for rows in image.split(recipe.ghost or recipe.batch)]
        cross_entropy(torch.cat(seen), label).backward()

    for step in range(recipe.length):
        image, label = next(source)
        gradient(image, label)
        if config.sam:
            with ascended(net, config.sam):
                gradient(image, label)
        for group in made.param_groups:
            group["lr"] = optim.rate(config, (step + 0.5) / recipe.length)
        made.step()
    settle(net, data["train"])
    return Trained(net, config.lr, data, recipe.length)


def tuned(seed: int, data: dict[str, Arrays], *recipes: Recipe) -> Trained:
    """The most accurate on the validation part, of recipes and of rates around theirs."""

    def tried(recipe: Recipe, lr: float) -> tuple[Score, Trained]:
        one = trained(replace(recipe, optim=replace(recipe.optim, lr=lr)), seed, data)
        share, loss = right(one.network, data["validation"])
        return (-share, loss), one

    found = (climbed(partial(tried, recipe), recipe.optim.lr) for recipe in recipes)
    return min(found, key=lambda each: each[0])[1]


def climbed(tried: Callable[[float], tuple[Score, T]], start: float) -> tuple[Score, T]:
    """The best score and what came of its rate: from the start on, as long as the next is better."""
    best, lr = tried(start), start
    for factor in (FACTOR, 1 / FACTOR):
        while (answer := tried(lr * factor))[0] < best[0]:
            best, lr = answer, lr * factor
        if lr != start:
            break
    return best


@torch.no_grad()
def settle(net: nn.Module, train: Arrays) -> None:
    """Let its norms know the statistics of all samples; after few updates, running ones lag behind."""
    for norm in (part for part in net.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None
    net(train.image)


@torch.no_grad()
def right(net: nn.Module, data: Arrays) -> tuple[float, float]:
    """Accuracy, and the loss, ∞ if it is none; the network as it is used."""
    assert data.label is not None
    out = net.eval()(data.image)
    loss = float(cross_entropy(out, data.label))
    net.train()
    return accuracy(out.argmax(1), data.label), loss if math.isfinite(loss) else math.inf


def sharpness(net: nn.Module, data: Arrays, steps: int = 15) -> float:
    """The largest eigenvalue of the loss's Hessian, by power iteration; the network as it is used."""
    assert data.label is not None
    weights = list(net.parameters())
    rng = generator(0, "sharpness")
    v = [torch.randn(w.shape, generator=rng) for w in weights]
    loss = cross_entropy(net.eval()(data.image), data.label)
    slope = torch.autograd.grad(loss, weights, create_graph=True)
    found = 0.0
    for _ in range(steps):
        norm = torch.stack([x.norm() for x in v]).norm().clamp(min=1e-30)
        v = [x / norm for x in v]
        dot = torch.stack([(s * x).sum() for s, x in zip(slope, v, strict=True)]).sum()
        product = torch.autograd.grad(dot, weights, retain_graph=True)
        found = float(sum((p * x).sum() for p, x in zip(product, v, strict=True)))
        v = list(product)
    net.train()
    return found
