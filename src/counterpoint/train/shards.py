"""Shards: each process keeps the optimizer's state of its share of the weights alone.

ZeRO, stage 1 (Rajbhandari et al. 2020, arXiv:1910.02054). An optimizer makes the state of a weight when it
first steps on it; here each process steps on its own weights, of which all processes then get the new values.
Weights are not cut, so that optimizers that look at a whole one (LARS, LAMB) are what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from safetensors.torch import load, save
from torch import nn
from torch.optim import Optimizer

from counterpoint.train.team import Team


class Shards:
    """Who keeps the state of which weight of an optimizer; all processes must have the same optimizer."""

    def __init__(self, optimizer: Optimizer, team: Team) -> None:
        """Deal the weights out, large ones first, each to who has least."""
        self.optimizer, self.team = optimizer, team
        self.weights: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self.owner = [0] * len(self.weights)
        loads = [0] * team.size
        for index in sorted(range(len(self.weights)), key=lambda i: -self.weights[i].numel()):
            self.owner[index] = loads.index(min(loads))
            loads[self.owner[index]] += self.weights[index].numel()

    def step(self, step: Callable[[], object]) -> None:
        """Let ``step`` step the optimizer on the process's own weights, and get the others'."""
        self._drop()
        mine = {id(w) for w, owner in zip(self.weights, self.owner, strict=True) if owner == self.team.rank}
        groups = self.optimizer.param_groups
        every = [group["params"] for group in groups]
        try:
            for group in groups:
                group["params"] = [w for w in group["params"] if id(w) in mine]
            step()
        finally:
            for group, weights in zip(groups, every, strict=True):
                group["params"] = weights
        moved = [(w, o) for w, o in zip(self.weights, self.owner, strict=True) if w.grad is not None]
        for rank in range(self.team.size):
            self.team.spread([w.data for w, owner in moved if owner == rank], rank)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """In this block the first process has all of the state; all processes must enter it."""
        state = self.optimizer.state
        own = [(i, state.get(w, {})) for i, w in enumerate(self.weights)] if self.team.rank else []
        packed = save({f"{i}/{k}": v.contiguous() for i, values in own for k, v in values.items()})
        for content in self.team.collected(torch.frombuffer(bytearray(packed), dtype=torch.uint8)):
            for name, value in load(content.numpy().tobytes()).items():
                index, _, key = name.partition("/")
                state[self.weights[int(index)]][key] = value
        try:
            yield
        finally:
            self._drop()

    def _drop(self) -> None:
        """Forget the state of others' weights, which a checkpoint had."""
        for weight, owner in zip(self.weights, self.owner, strict=True):
            if owner != self.team.rank:
                self.optimizer.state.pop(weight, None)
