"""Data and networks whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.types import Batch


class Table:
    """Rows of features shown as (D, 1, 1) images, by any name."""

    def __init__(self, x: Tensor, label: Tensor | None = None, key: str = "image") -> None:
        self.entries = {key: x[..., None, None], "id": torch.arange(len(x))}
        if label is not None:
            self.entries["label"] = label
        self.provides = frozenset(self.entries)
        self.reads = 0

    def __len__(self) -> int:
        return len(self.entries["id"])

    def steps(self, size: int) -> int:
        return len(self) // size

    def epoch(self, size: int, rng: torch.Generator, start: int = 0) -> Iterator[Batch]:
        for ids in torch.randperm(len(self), generator=rng).split(size)[start:]:
            yield {name: entry[ids] for name, entry in self.entries.items()}

    def parts(self, size: int) -> Iterator[Batch]:
        self.reads += 1
        for ids in torch.arange(len(self)).split(size):
            yield {name: entry[ids] for name, entry in self.entries.items()}


def blobs(count: int, classes: int, dim: int, spread: float, seed: int) -> Table:
    """``count`` rows around one corner of the cube per class, in random order."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % classes
    x = torch.eye(classes, dim)[label] + spread * torch.randn(count, dim, generator=rng)
    order = torch.randperm(count, generator=rng)
    return Table(x[order], label[order])


@pytest.fixture
def toys() -> SimpleNamespace:
    return SimpleNamespace(Table=Table, blobs=blobs, flat=nn.Flatten())
