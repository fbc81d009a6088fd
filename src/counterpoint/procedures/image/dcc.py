"""DCC: a few images a class are made whose gradient over all classes together is that of the whole data set.

Lee, Chun, Jung, Yun, Yoon. Dataset Condensation with Contrastive Signals. ICML 2022. arXiv:2202.02916.

Class by class (DC, ``collective`` off), what all classes share rules every gradient; summed over classes it
cancels, since what a feature common to all does to the last layer adds up to nothing, and what is left tells
classes apart. Cosines are taken of the mean gradient, not averaged over classes, which would be DC again.

Not as in the paper: for other numbers of images a class than its own, the loops of the next larger one;
values beyond those of pixels are cut off in what is returned, not while learning (``condensed`` keeps them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.procedure import Procedure, ProcedureConfig
from counterpoint.core.rng import generator, seed_all
from counterpoint.data.arrays import Arrays
from counterpoint.objectives.matching import row_distance
from counterpoint.views.siamese import drawn_change

LOOPS = {1: (10, 5), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
"""Images a class → steps on the images for each network, and epochs of the network between two of them."""


class DCC(Procedure):
    """Called as ``(data) -> data``: labelled images in, ``per_class`` learned images of each class out."""

    @dataclass(frozen=True, kw_only=True)
    class Config(ProcedureConfig):
        """Settings of DCC."""

        per_class: int = 1
        """Images of each class that are made."""
        collective: bool = True
        """Match the gradient over all classes (DCC), not that of each class (DC)."""
        warmup_outer: int = 250
        """Networks for which gradients are matched class by class at first,"""
        warmup_inner: int = 10
        """in those steps on the images that come before this one, for each."""
        siamese: bool = False
        """Change real and made images of a class alike, at every step (DSA, DSAC)."""
        outer: int = 1000
        """Networks, each fresh."""
        inner: int = 0
        """Steps on the images for each network; 0 for the paper's (10, or more for over 10 images)."""
        epochs: int = 0
        """Epochs that the network is trained on the images between two steps; 0 for the paper's."""
        real: int = 256
        """Real images of each class a step."""
        start: Literal["real", "noise"] = "real"
        """What the images are at first: real ones drawn at random, or noise."""
        lr: float = 0.1
        """Learning rate of the images, whose pixels are standardized."""
        momentum: float = 0.5
        """Of the images' SGD."""
        network_lr: float = 0.01
        """Learning rate of the networks' plain SGD."""
        width: int = 128
        """Channels of the networks."""
        depth: int = 3
        """Blocks of the networks; each halves the image."""
        seed: int = 0
        """What all randomness follows from."""

        def __post_init__(self) -> None:
            for name in ("per_class", "outer", "real", "width", "depth"):
                if getattr(self, name) < 1:
                    raise InputError(f"dcc.{name}: expected at least 1, found {getattr(self, name)}")

        @property
        def loops(self) -> tuple[int, int]:
            """Steps for each network, and epochs between two."""
            known = LOOPS[min((n for n in LOOPS if n >= self.per_class), default=max(LOOPS))]
            return self.inner or known[0], self.epochs or known[1]

    config: Config

    def __call__(self, data: Data) -> Arrays:
        """The made images, cut off to [0, 1], with their labels; raises as ``condensed`` does."""
        image, label = self.condensed(data)
        return Arrays(image.clamp(0, 1), label, getattr(data, "classes", ()), name="condensed")

    def condensed(self, data: Data) -> tuple[Tensor, Tensor]:
        """Images (K·per_class, C, H, W) as they were learned and labels (K·per_class,) int64, class by class.

        Raises:
            InputError: no labels, a class with fewer images than are to be made, or images too small for the
                networks.
        """
        c = self.config
        real, names, mean, std = _by_class(data, c.per_class)
        label = torch.arange(len(real)).repeat_interleave(c.per_class)
        first = [x[self._order(len(x), "start", k)[: c.per_class]] for k, x in enumerate(real)]
        image = torch.cat(first) if c.start == "real" else self._noise(first)
        image.requires_grad_()
        optimizer = torch.optim.SGD([image], lr=c.lr, momentum=c.momentum)
        steps, epochs = c.loops
        for o in range(c.outer):
            with torch.random.fork_rng(devices=[]):
                seed_all(c.seed, "network", o)
                network = classifier(tuple(image.shape[1:]), len(real), c.width, c.depth)
            for i in range(steps):
                image.grad = torch.autograd.grad(self._distance(network, real, image, o, i), image)[0]
                optimizer.step()
                if i < steps - 1:
                    known = image.detach().clone()
                    rng = generator(c.seed, "teach", o, i)
                    teach(network, known, label, epochs, c.network_lr, rng, siamese=c.siamese)
        return image.detach() * std + mean, names[label]

    def _distance(self, network: nn.Module, real: Sequence[Tensor], image: Tensor, o: int, i: int) -> Tensor:
        """L_DCC, or L_DC in the warm-up: between gradients of real and of made images."""
        c = self.config
        theirs, ours = [], []
        for k, (some, made) in enumerate(zip(real, image.split(c.per_class), strict=True)):
            some = some[self._order(len(some), "real", o, i, k)[: c.real]]  # noqa: PLW2901
            if c.siamese:
                change = drawn_change(generator(c.seed, "siamese", o, i, k))
                some, made = change(some), change(made)  # noqa: PLW2901
            theirs.append([g.detach() for g in gradient(network, some, torch.full((len(some),), k))])
            ours.append(made)
        if not c.collective or (o < c.warmup_outer and i < c.warmup_inner):
            own = [gradient(network, m, torch.full((len(m),), k), graph=True) for k, m in enumerate(ours)]
            return torch.stack([row_distance(g, h) for g, h in zip(theirs, own, strict=True)]).sum()
        label = torch.arange(len(real)).repeat_interleave(c.per_class)
        mean = [torch.stack(of).mean(0) for of in zip(*theirs, strict=True)]
        return row_distance(mean, gradient(network, torch.cat(ours), label, graph=True))

    def _order(self, count: int, *what: str | int) -> Tensor:
        return torch.randperm(count, generator=generator(self.config.seed, *what))

    def _noise(self, like: Sequence[Tensor]) -> Tensor:
        return torch.randn(torch.cat(list(like)).shape, generator=generator(self.config.seed, "noise"))


def gradient(network: nn.Module, x: Tensor, y: Tensor, *, graph: bool = False) -> tuple[Tensor, ...]:
    """Of the mean cross-entropy, by weight; ``graph``: it can be differentiated by ``x`` in turn."""
    loss = cross_entropy(network(x), y)
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=graph)


def classifier(shape: tuple[int, ...], classes: int, width: int, depth: int) -> nn.Sequential:
    """The paper's ConvNet: blocks of 3×3 convolution, instance normalization, ReLU, mean over 2×2; linear.

    Samples do not see each other in it, so all classes can go through it in one batch. Freshly initialized
    from torch's global generator.

    Raises:
        InputError: images (C, H, W) that are gone before the last block.
    """
    channels, *sides = shape
    if min(sides) < 2**depth:
        raise InputError(f"dcc.depth: expected images of at least {2**depth} pixels a side, found {sides}")
    blocks: list[nn.Module] = []
    for i in range(depth):
        conv = nn.Conv2d(width if i else channels, width, 3, padding=1)
        blocks += [conv, nn.GroupNorm(width, width), nn.ReLU(), nn.AvgPool2d(2)]
    area = (sides[0] >> depth) * (sides[1] >> depth)
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(width * area, classes))


def teach(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    lr: float,
    rng: torch.Generator,
    *,
    momentum: float = 0.0,
    decay: float = 0.0,
    siamese: bool = False,
) -> None:
    """Train a classifier on images (N, C, H, W) and labels in place, by SGD in batches of at most 256."""
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=rng).split(256):
            shown = drawn_change(rng)(x[rows]) if siamese else x[rows]
            optimizer.zero_grad()
            cross_entropy(network(shown), y[rows]).backward()
            optimizer.step()


def _by_class(data: Data, fewest: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Standardized images of each class, the numbers of the classes, mean and deviation of each channel."""
    if not {"image", "label"} <= data.provides:
        raise InputError("data: expected images with labels, found none")
    batches = list(data.parts(256))
    x, y = (torch.cat([batch[key] for batch in batches]) for key in ("image", "label"))
    std, mean = torch.std_mean(x, (0, 2, 3), correction=0, keepdim=True)
    std = std.clamp(min=1e-6)  # of a channel without contrast
    names, code = y.unique(return_inverse=True)
    if (few := int(code.bincount().min())) < fewest:
        raise InputError(f"data: expected at least {fewest} images of every class, found {few} of one")
    return [((x - mean) / std)[code == k] for k in range(len(names))], names, mean, std
