"""What all processes have and what each has a part of: four ways between them, and their gradients.

Outside of encoders every process has the same values, and the whole gradient of them. Inside, each has rows
of its own, and its part of the gradient. ``own`` and ``copied`` lead in, ``whole`` and ``summed`` lead out;
the gradient of each is another of the four, so that derivatives of any order are those of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from counterpoint.train.team import Team


def own(x: Tensor, team: Team, sizes: Sequence[int]) -> Tensor:
    """This process's rows, of ``sizes`` rows a process, of (B, …) that all have."""
    return _Own.apply(x, team, sizes)


def whole(x: Tensor, team: Team, sizes: Sequence[int]) -> Tensor:
    """(B, …) in every process, from each one's own rows."""
    return _Whole.apply(x, team, sizes)


def copied(team: Team, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The same values, to be used for own rows: the parts of their gradients will be summed, all at once."""
    return _Copied.apply(team, *tensors) if torch.is_grad_enabled() else tensors


def summed(team: Team, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """The sum of the processes' parts, in every process."""
    return _Summed.apply(team, *tensors) if torch.is_grad_enabled() else _sums(team, tensors)


class _Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, team: Team, sizes: Sequence[int]) -> Tensor:
        ctx.team, ctx.sizes = team, sizes
        return x[team.own(sizes)].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return whole(grad_outputs[0], ctx.team, ctx.sizes), None, None


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, team: Team, sizes: Sequence[int]) -> Tensor:
        ctx.team, ctx.sizes = team, sizes
        return team.gathered(x, sizes)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return own(grad_outputs[0], ctx.team, ctx.sizes), None, None


class _Copied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, team: Team, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.team = team
        ctx.set_materialize_grads(False)
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        return None, *summed(ctx.team, *grad_outputs)


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, team: Team, *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.team = team
        ctx.set_materialize_grads(False)
        return _sums(team, tensors)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [g for g in grad_outputs if g is not None]
        copies = iter(copied(ctx.team, *given))
        return None, *(None if g is None else next(copies) for g in grad_outputs)


def _sums(team: Team, tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    sums = iter(team.summed([x for x in tensors if x is not None]))
    return tuple(None if x is None else next(sums) for x in tensors)
