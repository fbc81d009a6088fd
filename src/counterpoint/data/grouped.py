"""Batches in which so many samples of a group come together: one of each group at most, or several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from counterpoint.core.data import Data
from counterpoint.core.errors import InputError
from counterpoint.core.types import Batch


class Grouped(Data, Protocol):
    """Data that know which samples belong together (to a patient, a volume, a slide)."""

    image: Tensor
    group: Tensor | None


class ByGroup:
    """Images in memory, in batches of groups: ``each`` samples of every group that is in a batch.

    With one of each, no two slices of a volume meet in a batch and none is the other's negative, whatever
    they show; with several, they always do. Groups and their samples are drawn without repeating any in a
    batch; an epoch has as many batches as without groups.
    """

    provides = frozenset({"image", "id"})

    def __init__(self, data: Grouped, each: int = 1) -> None:
        """Take data as they are.

        Args:
            data: Images (N, C, H, W) with groups (N,).
            each: How many of a group come together, ≥ 1.

        Raises:
            InputError: no groups, or a group with fewer samples.
        """
        if data.group is None:
            raise InputError("data: expected groups, found none")
        self.data, self.each = data, each
        self.rows = [(data.group == g).nonzero()[:, 0] for g in data.group.unique()]
        fewest = min(map(len, self.rows))
        if not 1 <= each <= fewest:
            raise InputError(f"each: expected 1 to {fewest}, the size of the smallest group, found {each}")

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.data)

    def steps(self, size: int) -> int:
        """How many batches an epoch has; raises ``InputError`` for a size that no whole groups make up."""
        most = len(self.rows) * self.each
        if size % self.each or size > most:
            raise InputError(f"batch: expected a multiple of {self.each} up to {most}, found {size}")
        return max(1, len(self) // size)

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        """Batches of ``size``: "image" (B, C, H, W) and "id" (B,) int64."""
        for step in range(self.steps(size)):
            groups = torch.randperm(len(self.rows), generator=rng)[: size // self.each].tolist()
            drawn = (torch.randperm(len(self.rows[g]), generator=rng)[: self.each] for g in groups)
            ids = torch.cat([self.rows[g][some] for g, some in zip(groups, drawn, strict=True)])
            if step >= start:
                yield {"image": self.data.image[ids], "id": ids}

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples once, in order."""
        return self.data.parts(size)
