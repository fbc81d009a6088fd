"""Data: what a loop draws batches from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from counterpoint.core.types import Batch


class Data(Protocol):
    """Yields batches; order and content depend on ``rng`` alone."""

    provides: frozenset[str]
    """Keys of its batches."""

    def __len__(self) -> int:
        """How many samples an epoch has."""
        ...

    def steps(self, size: int) -> int:
        """How many batches of ``size`` an epoch has."""
        ...

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """One pass; draws everything that is random from ``rng``, batch by batch, in order.

        Args:
            size: Samples a batch.
            rng: Where all randomness comes from.
            start: Batches to pass over, as a run does that is resumed. Those that follow are what they are in
                the whole pass; what is passed over is drawn, but best neither read nor decoded.
        """
        ...

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples once, in order of id, in batches of ``size``; the last one may be smaller."""
        ...
