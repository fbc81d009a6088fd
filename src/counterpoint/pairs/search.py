"""The nearest rows of a bank, exact and in blocks: the time of a matrix product in bounded memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from counterpoint.core.errors import InputError

By = Literal["blocks", "faiss"]
SMALL = 2**22
"""Products up to which all are held at once."""
ROWS, TILE = 2048, 2048
"""Queries and bank rows of one product: 16 MiB."""
GROUP = 16
"""Products of a query of which at first only the largest counts."""
SPARE = 256
"""Places for candidates of a query until they are compared with each other."""


@torch.no_grad()
def search(queries: Tensor, bank: Tensor, k: int, by: By = "blocks") -> tuple[Tensor, Tensor]:
    """The ``k`` rows of a bank with the largest inner product, the largest first; of equal ones any.

    Of normalized rows these are the nearest by cosine, and by distance.

    Args:
        queries: (Q, D) float.
        bank: (N, D), same type and device.
        k: From 1 to N.
        by: "blocks" is ours; "faiss" is that library's flat index, on the CPU. Both look at every row.

    Returns:
        (Q, k) products, falling, and (Q, k) int64 rows of the bank; without a gradient.

    Raises:
        ValueError: ``k`` out of range.
        InputError: faiss was asked for and is not installed.
    """
    if not 1 <= k <= len(bank):
        raise ValueError(f"k: expected 1 to {len(bank)}, the rows of the bank, found {k}")
    queries, bank = queries.detach(), bank.detach()
    if by == "faiss":
        return _by_faiss(queries, bank, k)
    if queries.device.type != "cpu" or queries.dtype != torch.float32:
        found = [(rows @ bank.T).topk(k, dim=1) for rows in queries.split(max(1, SMALL // len(bank)))]
    elif len(queries) * len(bank) <= SMALL:
        found = [(queries @ bank.T).topk(k, dim=1)]
    else:
        width = max(TILE, GROUP * (4 * k // GROUP + 1))  # the first product must hold k
        found = [_over(rows, bank, k, width) for rows in queries.split(max(1, ROWS * TILE // width))]
    values, index = zip(*found, strict=True)
    return torch.cat(values), torch.cat(index)


def _over(queries: Tensor, bank: Tensor, k: int, width: int) -> tuple[Tensor, Tensor]:
    """(R, k) products and rows of the bank, by running over it in tiles of ``width`` rows."""
    tile = torch.empty(len(queries), width)
    best = _Best(len(queries), k)
    compare = 0
    for start in range(0, len(bank), width):
        rows = bank[start : start + width]
        if len(rows) == width:
            # NumPy brings a BLAS of its own, which is up to a fifth faster here than that of torch.
            np.dot(queries.numpy(), rows.numpy().T, out=tile.numpy())
        else:
            tile[:, : len(rows)] = queries @ rows.T
            tile[:, len(rows) :] = -torch.inf
        best.see(tile, start)
        if start >= compare:  # often enough: most rows of a long bank are then seen to be too far at once
            best.compare()
            compare = 2 * (start + width)
    best.compare()
    return best.values[:, :k], best.rows[:, :k]


class _Best:
    """The best ``k`` of each query so far, falling, and beside them candidates that may be better."""

    def __init__(self, count: int, k: int) -> None:
        self.k = k
        self.values = torch.full((count, k + SPARE), -torch.inf)
        self.rows = torch.zeros(count, k + SPARE, dtype=torch.long)
        self.filled = torch.full((count,), k)

    def see(self, tile: Tensor, start: int) -> None:
        """Take in what of (R, W) products with the rows from ``start`` on is above the ``k``-th best."""
        least = self.values[:, self.k - 1 : self.k]
        groups = tile.view(len(tile), GROUP, -1)
        query, column = (groups.amax(1) > least).nonzero(as_tuple=True)
        if len(query) * GROUP > len(tile) * SPARE:
            self._join(*tile.topk(self.k, dim=1), start)
            return
        members = groups[query, :, column]
        which, member = (members > least[query]).nonzero(as_tuple=True)
        query, column = query[which], column[which]
        count = torch.bincount(query, minlength=len(tile))
        if int((self.filled + count).max()) > self.k + SPARE:
            self.compare()
            if int(count.max()) > SPARE:
                self._join(*tile.topk(self.k, dim=1), start)
                return
        slot = self.filled[query] + torch.arange(len(query)) - (count.cumsum(0) - count)[query]
        self.values[query, slot] = members[which, member]
        self.rows[query, slot] = start + member * groups.shape[2] + column
        self.filled += count

    def compare(self) -> None:
        """Keep the ``k`` best of those held."""
        values, order = self.values.topk(self.k, dim=1)
        rows = self.rows.gather(1, order)
        self.values.fill_(-torch.inf)
        self.values[:, : self.k], self.rows[:, : self.k] = values, rows
        self.filled.fill_(self.k)

    def _join(self, values: Tensor, places: Tensor, start: int) -> None:
        """Compare with the best of a tile, of which too many are candidates."""
        self.compare()
        both = torch.cat([self.values[:, : self.k], values], 1)
        values, order = both.topk(self.k, dim=1)
        rows = torch.cat([self.rows[:, : self.k], places + start], 1).gather(1, order)
        self.values[:, : self.k], self.rows[:, : self.k] = values, rows


def _by_faiss(queries: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    try:
        import faiss  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            'search: faiss was asked for, found none; pip install "counterpoint[faiss]"'
        ) from None
    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank.float().cpu().contiguous().numpy())
    values, rows = index.search(queries.float().cpu().contiguous().numpy(), k)
    return torch.from_numpy(values).to(queries), torch.from_numpy(rows).to(queries.device)
