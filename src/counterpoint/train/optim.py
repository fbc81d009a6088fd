"""Optimizers, and the learning rate as a pure function of progress."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import nn, optim

from counterpoint.core.config import Config
from counterpoint.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """An optimizer and its schedule."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """AdamW (decay apart from the gradient), Adam (decay as part of it), or stochastic gradient descent."""
    lr: float = 1e-3
    """The largest learning rate of the schedule, > 0."""
    weight_decay: float = 1e-4
    """Decay of the weights; not of what has fewer than two dimensions: biases, norms' parameters, scalars."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's memory of the gradient and of its square, in [0, 1)."""
    momentum: float = 0.9
    """SGD's memory of the gradient, in [0, 1)."""
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
        if not 0 <= self.warmup <= 1:
            raise InputError(f"optim.warmup: expected a share in [0, 1], found {self.warmup}")


def optimizer(module: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The optimizer of what in ``module`` asks for a gradient, in two groups: with and without decay."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    kind = optim.AdamW if config.name == "adamw" else optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas)


def rate(config: OptimConfig, fraction: float) -> float:
    """The learning rate when ``fraction`` of the training, in [0, 1], is done.

    ``onecycle`` is the schedule of Smith and Topin (arXiv:1708.07120) with cosines for lines, as
    ``torch.optim.lr_scheduler.OneCycleLR`` has it: from lr / 25 to lr during the warmup, then to lr / 250000.
    """
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
