"""Optimizers for large batches: each layer's step in proportion to its weights, and flat minima.

Ours, because those of the libraries keep a part of their state in parameter groups, where no checkpoint of
ours looks, or need torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class Lars(Optimizer):
    """SGD with momentum whose step is in proportion to the norm of a layer's weights.

    You, Gitman, Ginsburg 2017, arXiv:1708.03888, Algorithm 1: q = c·‖w‖ / (‖g‖ + β‖w‖), v ← μ·v + lr·q·(g +
    β·w), w ← w − v; q is 1 where a norm is 0, and in groups whose ``adapt`` is false.

    Args:
        params: Parameters or groups of them, whose ``adapt`` (default true) says whether q is used.
        lr: Learning rate, > 0.
        momentum: μ, in [0, 1).
        weight_decay: β, ≥ 0.
        trust: c, > 0.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        kept = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        super().__init__(params, kept)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update from the gradients that are there."""
        loss = _asked(closure)
        for group, w, g in _each(self):
            decay, state = group["weight_decay"], self.state[w]
            rate = torch.ones((), device=w.device)
            if group["adapt"]:
                rate = _ratio(group["trust"] * w.norm(), g.norm() + decay * w.norm(), w.norm())
            v = state.setdefault("momentum_buffer", torch.zeros_like(w))
            v.mul_(group["momentum"]).add_((g + decay * w) * (rate * group["lr"]))
            w.sub_(v)
        return loss


class Lamb(Optimizer):
    """Adam whose step is in proportion to the norm of a layer's weights.

    You et al. 2020, arXiv:1904.00962, Algorithm 2 with φ the identity: r = m̂ / (√v̂ + ε) + λ·w,
    w ← w − lr·‖w‖/‖r‖·r; the ratio is 1 where a norm is 0, and in groups whose ``adapt`` is false.

    Args:
        params: Parameters or groups of them, whose ``adapt`` (default true) says whether the ratio is used.
        lr: Learning rate, > 0.
        betas: Memory of the gradient and of its square, in [0, 1).
        eps: ε, > 0.
        weight_decay: λ, ≥ 0.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "adapt": True}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One update from the gradients that are there."""
        loss = _asked(closure)
        for group, w, g in _each(self):
            state, (one, two) = self.state[w], group["betas"]
            if not state:
                state |= {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(w),
                    "exp_avg_sq": torch.zeros_like(w),
                }
            state["step"] += 1
            done = float(state["step"])
            m = state["exp_avg"].lerp_(g, 1 - one) / (1 - one**done)
            v = state["exp_avg_sq"].mul_(two).addcmul_(g, g, value=1 - two) / (1 - two**done)
            r = m / (v.sqrt() + group["eps"]) + group["weight_decay"] * w
            rate = _ratio(w.norm(), r.norm(), w.norm()) if group["adapt"] else torch.ones((), device=w.device)
            w.sub_(r * (rate * group["lr"]))
        return loss


@contextmanager
def ascended(module: nn.Module, radius: float) -> Iterator[float]:
    """The weights at the worst place near where they are, by their gradients: w + ρ·g/‖g‖ over all of them.

    Foret et al. 2021 (SAM), arXiv:2010.01412, equation 2: the gradient that the block computes there is that
    of the next step. Afterwards weights and buffers (statistics of norms) are what they were, to the bit.

    Args:
        module: Those of its parameters that have a gradient are moved.
        radius: ρ ≥ 0; the paper takes 0.05.

    Yields:
        ‖g‖; where it is 0 or not finite, nothing is moved.
    """
    moved = [(p, p.grad) for p in module.parameters() if p.grad is not None]
    kept = [(t, t.detach().clone()) for t in (*(p for p, _ in moved), *module.buffers())]
    with torch.no_grad():
        norm = torch.stack([g.norm() for _, g in moved]).norm() if moved else torch.zeros(())
        if norm > 0 and norm.isfinite():
            for p, g in moved:
                p.add_(g * (radius / norm).to(g))
    try:
        yield float(norm)
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)


def _each(optimizer: Optimizer) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
    for group in optimizer.param_groups:
        yield from ((group, p, p.grad) for p in group["params"] if p.grad is not None)


def _ratio(above: Tensor, below: Tensor, weights: Tensor) -> Tensor:
    """``above / below``, on the device; 1 where there is nothing to compare."""
    return torch.where((weights > 0) & (below > 0), above / below, 1.0)


def _asked(closure: Callable[[], Any] | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
