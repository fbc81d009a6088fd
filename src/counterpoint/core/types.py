"""Batch, View, Pairs, Terms, Progress: the plain values that travel between the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

Batch = Mapping[str, Any]
"""What a data set yields: named tensors; always with ``"id"``, (B,) int64 indices into the data set."""


def _same(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True, slots=True)
class View:
    """One rendition of a batch of samples."""

    x: Any
    """What an encoder takes, e.g. (B, C, H, W)."""
    ids: Tensor
    """(B,) which sample each row shows."""
    role: str = "image"
    """The part it plays, e.g. "fixed", "moving", "global"."""
    undo: Callable[[Tensor], Tensor] = _same
    """Takes a map (B, C, h, w) of this view, at any resolution, back into the sample's own frame."""


Views = tuple[View, ...]


class Viewer(Protocol):
    """Makes the views of a batch; all its randomness comes from ``rng``."""

    def __call__(self, batch: Batch, rng: torch.Generator) -> Views:
        """Render ``batch``."""
        ...


@dataclass(frozen=True, slots=True)
class Pairs:
    """Who is compared with whom: for every anchor (row) its positives and negatives (columns)."""

    positive: Tensor
    """(N, M) bool."""
    negative: Tensor
    """(N, M) bool."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A loss by name."""

    parts: Mapping[str, Tensor]
    """What is summed, unweighted; scalars."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of a part; 1 where not named."""
    notes: Mapping[str, Tensor | float] = field(default_factory=dict)
    """What is only logged."""
    keep: Mapping[str, Tensor] = field(default_factory=dict)
    """What ``after_step`` needs, detached."""

    @property
    def total(self) -> Tensor:
        """The weighted sum of the parts."""
        return torch.stack([self.weights.get(name, 1.0) * part for name, part in self.parts.items()]).sum()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands; ``step`` counts updates from 0."""

    step: int
    steps: int
    epoch: int
    epochs: int
    turn: str = "all"

    @property
    def fraction(self) -> float:
        """Share of the training already done, in [0, 1]."""
        return self.step / max(self.steps, 1)
