"""Batch normalization over the rows of all processes.

torch's own form of it, ``SyncBatchNorm``, is for CUDA alone, and is a module of its own; here whatever calls
``torch.nn.functional.batch_norm`` in the block has the statistics of all rows, in the modules that are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from counterpoint.train.shared import copied, summed
from counterpoint.train.team import Team


class Together(TorchFunctionMode):
    """In this block, batch statistics are those of the rows of all processes."""

    def __init__(self, team: Team, sizes: Sequence[int]) -> None:
        """``sizes``: how many rows of the batch each process has."""
        super().__init__()
        self.team, self.sizes = team, sizes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every call of torch comes by here; only batch normalization is another one then."""
        if func is F.batch_norm:
            return self._normalized(*args, **kwargs or {})
        return func(*args, **kwargs or {})

    def _normalized(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """``F.batch_norm`` (input: (B, C, …)); running statistics move as those of one process do."""
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        each = input.numel() // input.shape[1] / self.sizes[self.team.rank]  # values of a channel in a row
        counts = [size * each for size in self.sizes]
        y, mean, var = _BatchNorm.apply(input, weight, bias, self.team, counts, eps)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean), momentum)
                running_var.lerp_(var.to(running_var) * (sum(counts) / max(sum(counts) - 1, 1)), momentum)
        return y


class _BatchNorm(torch.autograd.Function):
    """(x - μ)/√(σ² + ε)·γ + β with μ, σ² over all processes: one message forward, one backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        team: Team,
        counts: Sequence[float],
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns y and, for the running statistics, μ and σ²."""
        own = torch.batch_norm_update_stats(_wide(x), None, None, 0.0)
        mean, var = _moments(*own, team, counts)
        ctx.save_for_backward(x, weight, bias, mean, (var + eps).rsqrt())
        ctx.team, ctx.counts, ctx.eps = team, counts, eps
        ctx.mark_non_differentiable(mean, var)
        y = F.batch_norm(_wide(x), mean, var, _like(weight, mean), _like(bias, mean), False, 0.0, eps)
        return y.to(x.dtype), mean, var

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients; those of γ and β are this process's part of them."""
        x, weight, bias, mean, invstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient shall have one of its own
            y = _plain(x, weight, bias, ctx.team, ctx.counts, ctx.eps)
            asked = [t for t, wanted in zip((x, weight, bias), ctx.needs_input_grad, strict=False) if wanted]
            found = iter(torch.autograd.grad(y, asked, grad_outputs[0], create_graph=True))
            return *(next(found) if wanted else None for wanted in ctx.needs_input_grad[:3]), None, None, None
        dy, x, gain = _wide(grad_outputs[0]), _wide(x), _like(weight, mean)
        native = torch.ops.aten.native_batch_norm_backward
        _, by_weight, by_bias = native(
            dy, x, gain, None, None, mean, invstd, True, ctx.eps, [False, True, True]
        )
        tilt, shift = (total / sum(ctx.counts) for total in ctx.team.summed((by_weight, by_bias)))
        scale = invstd if gain is None else gain * invstd
        slope = -scale * invstd * tilt
        rest = -scale * shift - slope * mean
        across = (1, -1, *[1] * (x.ndim - 2))
        dx = torch.addcmul(rest.view(across), x, slope.view(across)).addcmul_(dy, scale.view(across))
        return dx.to(grad_outputs[0].dtype), by_weight, by_bias, None, None, None


def _plain(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, team: Team, counts: Sequence[float], eps: float
) -> Tensor:
    """The same with autograd's own derivatives, of any order; slower."""
    across = (1, -1, *[1] * (x.ndim - 2))
    var, mean = torch.var_mean(_wide(x), [0, *range(2, x.ndim)], correction=0)
    mean, var = _moments(mean, var, team, counts)
    y = (_wide(x) - mean.view(across)) * (var + eps).rsqrt().view(across)
    y = y if weight is None else y * weight.view(across)
    return (y if bias is None else y + bias.view(across)).to(x.dtype)


def _moments(mean: Tensor, var: Tensor, team: Team, counts: Sequence[float]) -> tuple[Tensor, Tensor]:
    """μ and σ² of all rows from those of each process's (Chan, Golub, LeVeque 1983: no digits are lost)."""
    own = torch.cat([mean, var])
    after = team.size - team.rank - 1
    (total,) = summed(team, F.pad(own, (team.rank * len(own), after * len(own))))
    assert total is not None
    means, variances = copied(team, total)[0].view(team.size, 2, -1).unbind(1)
    share = means.new_tensor(counts)[:, None] / sum(counts)
    middle = (share * means).sum(0)
    return middle, (share * (variances + (means - middle).square())).sum(0)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _like(x: Tensor | None, other: Tensor) -> Tensor | None:
    return None if x is None else x.to(other.dtype)
