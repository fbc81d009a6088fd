"""Table: one row for each sample of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError


class Table(nn.Module):
    """Rows by sample, the memory bank of Wu et al. 2018 (instance discrimination, arXiv:1805.01978).

    A method does not know how many samples there are: the table grows to what is written, and takes its size
    from a checkpoint.

    Args:
        size: How many rows it begins with, ≥ 0.
        dim: Width of a row.
        momentum: How much of what a row held stays when it is written again, in [0, 1).
        unit: Whether rows are brought to unit length after that, as there.

    Raises:
        InputError: ``size`` < 0, ``dim`` < 1 or ``momentum`` outside [0, 1).
    """

    rows: Tensor
    seen: Tensor

    def __init__(self, size: int, dim: int, momentum: float = 0.0, unit: bool = False) -> None:
        super().__init__()
        if size < 0 or dim < 1 or not 0 <= momentum < 1:
            raise InputError(
                f"table: expected size ≥ 0, dim > 0, momentum in [0, 1), found {size}, {dim}, {momentum}"
            )
        self.momentum, self.unit = momentum, unit
        self.register_buffer("rows", torch.zeros(size, dim))
        self.register_buffer("seen", torch.zeros(size, dtype=torch.bool))  # whether a row was ever written
        self.register_load_state_dict_pre_hook(_at_its_size)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, ids: Tensor) -> Tensor:
        """(B, dim): a copy of the rows of samples, 0 where one was not written yet; ids < ``len``."""
        return self.rows[ids]

    @torch.no_grad()
    def write(self, ids: Tensor, rows: Tensor) -> None:
        """Write rows without their gradient; of a sample that stands in ``ids`` several times, their mean.

        Args:
            ids: (B,) int64 ≥ 0, which sample each row is of.
            rows: (B, dim).

        Raises:
            ValueError: a shape does not fit, or an id is negative.
        """
        if rows.shape != (len(ids), self.rows.shape[1]):
            raise ValueError(f"rows: expected {(len(ids), self.rows.shape[1])}, found {tuple(rows.shape)}")
        ids, place, times = ids.to(self.rows.device).unique(return_inverse=True, return_counts=True)
        if not len(ids):
            return
        if ids[0] < 0:
            raise ValueError(f"ids: expected whole numbers ≥ 0, found {int(ids[0])}")
        self._resize(max(len(self), int(ids[-1]) + 1))
        new = self.rows.new_zeros(len(ids), rows.shape[1]).index_add_(0, place, rows.to(self.rows))
        new /= times[:, None]
        keep = self.momentum * self.seen[ids, None]
        new = keep * self.rows[ids] + (1 - keep) * new
        self.rows[ids] = normalize(new, dim=1) if self.unit else new
        self.seen[ids] = True

    def _resize(self, size: int) -> None:
        """Add empty rows, or drop the last."""
        more = max(size - len(self), 0)
        self.rows = torch.cat([self.rows[:size], self.rows.new_zeros(more, self.rows.shape[1])])
        self.seen = torch.cat([self.seen[:size], self.seen.new_zeros(more)])


def _at_its_size(table: Table, state: Mapping[str, Tensor], prefix: str, *_rest: Any) -> None:
    """Before a state is loaded: take the size at which it was saved."""
    if (rows := state.get(f"{prefix}rows")) is not None:
        table._resize(len(rows))
