"""Queue: the last embeddings, first in, first out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError


class Queue(nn.Module):
    """A ring of rows (MoCo, He et al. 2020, arXiv:1911.05722, 3.2); batches of any size go in.

    Write in ``after_step`` only: a batch's own rows must not be in the queue when its loss is computed.

    Args:
        size: How many rows it holds.
        dim: Width of a row.
        tags: Names of whole numbers kept with each row, e.g. ("id", "label").
        filled: Begin full of random unit vectors, whose tags are −1 (MoCo), drawn as weights are from torch's
            global generator; else it begins empty.

    Raises:
        InputError: ``size`` or ``dim`` is less than 1.
    """

    rows: Tensor
    tags: Tensor
    written: Tensor

    def __init__(self, size: int, dim: int, tags: tuple[str, ...] = (), filled: bool = False) -> None:
        super().__init__()
        if min(size, dim) < 1:
            raise InputError(f"queue: expected a positive size and dim, found {size} and {dim}")
        self.names = tags
        self.register_buffer("rows", normalize(torch.randn(size, dim)) if filled else torch.zeros(size, dim))
        self.register_buffer("tags", torch.full((len(tags), size), -1))
        self.register_buffer("written", torch.tensor(size if filled else 0))  # rows ever written

    @property
    def count(self) -> int:
        """How many rows it holds."""
        return min(int(self.written), len(self.rows))

    @property
    def full(self) -> bool:
        """Whether the next row will replace one."""
        return self.count == len(self.rows)

    def read(self) -> Tensor:
        """(count, dim): the rows, in no particular order. Not a copy: the next ``push`` changes it."""
        return self.rows[: self.count]

    def tag(self, name: str) -> Tensor:
        """(count,) int64: a tag of the rows, in the order of ``read``."""
        return self.tags[self.names.index(name), : self.count]

    @torch.no_grad()
    def push(self, rows: Tensor, **tags: Tensor) -> None:
        """Write (B, dim) rows over the oldest, without their gradient; of more than fit the last are kept.

        Args:
            rows: (B, dim).
            tags: (B,) whole numbers by name, all those the queue keeps.

        Raises:
            ValueError: the rows are not of width ``dim``, or the tags are not those the queue keeps.
        """
        if rows.ndim != 2 or rows.shape[1] != self.rows.shape[1]:
            raise ValueError(f"rows: expected (B, {self.rows.shape[1]}), found {tuple(rows.shape)}")
        if tags.keys() != set(self.names) or any(t.shape != rows.shape[:1] for t in tags.values()):
            raise ValueError(f"tags: expected {self.names} of {len(rows)} rows, found {tuple(tags)}")
        size, count = len(self.rows), len(rows)
        places = torch.arange(max(count - size, 0), count, device=self.rows.device)
        slots = (self.written + places) % size
        self.rows[slots] = rows[-size:].to(self.rows)
        for row, name in zip(self.tags, self.names, strict=True):
            row[slots] = tags[name][-size:].to(row)
        self.written += count
