"""Teacher: a copy of a network that follows it slowly and has no gradient."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.core.types import Progress


class Teacher(nn.Module):
    """A network whose weights are a running mean of the student's: θ' ← m·θ' + (1 − m)·θ.

    ``m`` goes by a half cosine from ``momentum`` to ``last`` over the training (BYOL, Grill et al. 2020,
    arXiv:2006.07733, 3.3): m = last − (last − momentum)·(cos(πk/K) + 1)/2 at update k of K. Where both are
    equal it is constant (MoCo); 0 is a copy of the student, 1 a network that never moves.

    Only parameters follow. The running statistics of normalization are the teacher's own, gathered by its own
    passes in training, as in the code of BYOL, MoCo and DINO: averages of the student's would describe other
    features than the teacher's. Any other buffer stays as it was when the copy was made.

    Args:
        student: What is copied, e.g. ``nn.Sequential(encoder, projector)``; it is not kept.
        momentum: m at the first update, in [0, 1].
        last: m at the end, in [0, 1].

    Raises:
        InputError: a momentum outside [0, 1].
    """

    def __init__(self, student: nn.Module, momentum: float, last: float = 1.0) -> None:
        super().__init__()
        for value in (momentum, last):
            if not 0 <= value <= 1:
                raise InputError(f"momentum: expected a number in [0, 1], found {value}")
        self.momentum, self.last = momentum, last
        self.network = copy.deepcopy(student).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network gives, without a gradient; in training mode with the statistics of the batch."""
        return self.network(*args, **kwargs)

    def momentum_at(self, at: Progress) -> float:
        """The momentum m of the update that ``at`` names."""
        return self.last - (self.last - self.momentum) * (math.cos(math.pi * at.fraction) + 1) / 2

    @torch.no_grad()
    def follow(self, student: nn.Module, at: Progress) -> None:
        """Take a step towards ``student``; call it after the update, in ``after_step``.

        Raises:
            ValueError: ``student`` has other parameters than the network that was copied.
        """
        own, theirs = dict(self.network.named_parameters()), dict(student.named_parameters())
        if [(n, p.shape) for n, p in own.items()] != [(n, p.shape) for n, p in theirs.items()]:
            raise ValueError("student: expected the parameters of the network that was copied, found others")
        weight = 1 - self.momentum_at(at)
        for name, parameter in own.items():
            parameter.lerp_(theirs[name].to(parameter.dtype), weight)
