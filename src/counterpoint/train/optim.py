"""Optimizers, and the learning rate as a pure function of progress."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn, optim

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError
from counterpoint.train.large import Lamb, Lars

REFERENCE = 256
"""Samples of an update for which the rate is stated."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """An optimizer and its schedule."""

    name: Literal["adamw", "adam", "sgd", "lars", "lamb"] = "adamw"
    """AdamW (decay apart from the gradient), Adam (decay as part of it), stochastic gradient descent; and
    for large batches LARS and LAMB, which are SGD and Adam with steps in proportion to the weights of each
    layer."""
    lr: float = 1e-3
    """The largest learning rate of the schedule, > 0."""
    scale: Literal["none", "linear", "sqrt"] = "none"
    """How the rate grows with the samples of an update: not, lr · samples/256, or lr · √(samples/256)."""
    weight_decay: float = 1e-4
    """Decay of the weights; not of what has fewer than two dimensions: biases, norms' parameters, scalars."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's and LAMB's memory of the gradient and of its square, in [0, 1)."""
    momentum: float = 0.9
    """SGD's and LARS's memory of the gradient, in [0, 1)."""
    trust: float = 0.001
    """Of LARS: the step of a layer in units of its weights, > 0."""
    sam: float = 0.0
    """Radius within which the worst place's gradient is followed (sharpness-aware minimization, the paper's
    ρ, there 0.05); 0 for the gradient where the weights are. Twice the time."""
    schedule: Literal["constant", "cosine", "onecycle"] = "cosine"
    """After the warmup: stay, fall to 0 on a half cosine, or rise and fall on half cosines (Smith 2018)."""
    warmup: float = 0.05
    """Share of the training, in [0, 1], in which the rate rises: from 0, for onecycle from lr / 25."""

    def __post_init__(self) -> None:
        if not (0 < self.lr < math.inf and 0 <= self.weight_decay < math.inf):
            raise InputError(
                f"optim: expected lr > 0 and weight_decay ≥ 0, found {self.lr}, {self.weight_decay}"
            )
        if not all(0 <= memory < 1 for memory in (*self.betas, self.momentum)):
            raise InputError(
                f"optim: expected betas and momentum in [0, 1), found {self.betas}, {self.momentum}"
            )
        if not 0 <= self.sam < math.inf:
            raise InputError(f"optim.sam: expected no negative number, found {self.sam}")
        if not 0 < self.trust < math.inf:
            raise InputError(f"optim.trust: expected a positive number, found {self.trust}")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"optim.warmup: expected a share in [0, 1], found {self.warmup}")


def optimizer(module: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The optimizer of what in ``module`` asks for a gradient, in two groups: with and without decay.

    Those without decay (biases, norms' parameters, scalars) have no step in proportion to their weights,
    either.
    """
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.name in ("lars", "lamb"):
        groups[1]["adapt"] = False
        if config.name == "lamb":
            return Lamb(groups, lr=config.lr, betas=config.betas)
        return Lars(groups, lr=config.lr, momentum=config.momentum, trust=config.trust)
    kind = optim.AdamW if config.name == "adamw" else optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas)


def scaled(config: OptimConfig, samples: int) -> OptimConfig:
    """The settings with the rate that ``scale`` gives for updates of so many samples, in all batches of one.

    Linear: Goyal et al. 2017, arXiv:1706.02677, with a warmup. Square root: Krizhevsky 2014,
    arXiv:1404.5997, for optimizers that divide by the size of the gradient (You et al. 2020).
    """
    power = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[config.scale]
    return replace(config, lr=config.lr * (samples / REFERENCE) ** power, scale="none")


def rate(config: OptimConfig, fraction: float) -> float:
    """The learning rate when ``fraction`` of the training, in [0, 1], is done.

    The settings must be ``scaled``. ``onecycle`` is the schedule of Smith and Topin (arXiv:1708.07120) with
    cosines for lines, as ``torch.optim.lr_scheduler.OneCycleLR`` has it: from lr / 25 to lr during the
    warmup, then to lr / 250000.

    Raises:
        ValueError: the settings' rate is still to be scaled.
    """
    if config.scale != "none":
        raise ValueError(f"optim.scale: expected settings that are scaled already, found {config.scale}")
    rising = fraction < config.warmup
    done = fraction / config.warmup if rising else (fraction - config.warmup) / max(1 - config.warmup, 1e-12)
    if config.schedule == "onecycle":
        low = config.lr / 25
        return _cosine(low, config.lr, done) if rising else _cosine(config.lr, low / 1e4, done)
    if rising:
        return config.lr * done
    return config.lr if config.schedule == "constant" else _cosine(config.lr, 0.0, done)


def _cosine(start: float, end: float, done: float) -> float:
    """From ``start`` to ``end`` on half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
