"""Sums over candidates without their table of logits: memory grows with N, not with N².

A block of logits is done while it is in the cache. Each of the three functions below is a sum over anchors, a
number, so that gradients are known up to one factor, and there is no second derivative.

- ``RowwiseInfoNCE``, ``RowLogSum``: two sets. A block is some anchors with all their candidates; its softmax
  needs nothing else, so its gradient is made along with the loss and nothing is computed twice.
- ``SetContrast``: one set against itself. A tile serves its rows and, the table being symmetric, its columns;
  the sums over rows must be whole before there is a gradient, so the backward pass makes the tiles again.
  That is less work than both halves once.

Processes that hold the same tensors (``core.sharing``) compute some blocks each, and add up what they found.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, repeat
from typing import Any

import torch
from torch import Tensor

from counterpoint.core.sharing import Sharing, sharing
from counterpoint.objectives.precision import full_precision

BLOCK = 2**20
"""Entries of a block of logits: 4 MiB in float32, about what a processor's cache holds."""
ROWS = 64
"""Rows that a block has at least; matrix products of fewer are slow."""
TILE = 512
"""Side of a tile on a processor: 1 MiB in float32."""
TILE_CUDA = 8192
"""Side of a tile on a GPU, where a product must be large to be fast: 256 MiB in float32."""
SHARED = 2**20
"""Entries of a table from which on several processes share it; a message takes as long as fewer."""
REACH = 80.0
"""Largest difference of logits for which exponentials need no common shift: sums of e⁴⁰ fit float32."""


class RowwiseInfoNCE(torch.autograd.Function):
    """Σ_i ( log Σ_j exp(q_i·k_j) − q_i·k_i ) of queries (N, D) and keys (M, D), M ≥ N; float32 or double."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor) -> Tensor:
        """The sum, a scalar; both gradients are computed along with it where they are asked for."""
        by_queries, by_keys = _gradients(ctx, queries, keys)
        total, among = queries.new_zeros(()), sharers(len(queries) * len(keys))
        with full_precision(queries):
            for rows, logits in blocks(queries, keys, among):
                block = queries[rows]
                own = logits.diagonal(rows.start)
                top = logits.amax(1)
                total += (top - own).sum()
                whole = logits.sub_(top[:, None]).exp_().sum(1)
                total += whole.log().sum()
                own.sub_(whole)  # rows are now (softmax − one-hot) · whole
                if by_queries is not None:
                    torch.mm(logits, keys, out=by_queries[rows]).div_(whole[:, None])
                if by_keys is not None:
                    by_keys.addmm_(logits.T, block / whole[:, None])
        total, by_queries, by_keys = added(among, total, by_queries, by_keys)
        ctx.save_for_backward(by_queries, by_keys)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients of the forward pass, times that of the sum."""
        return _scaled(ctx.saved_tensors, grad_outputs[0])


class RowLogSum(torch.autograd.Function):
    """``Σ_i w_i log( exp o_i + Σ_j exp(q_i·k_j) )`` over the keys j whose group is not that of query i.

    Queries (N, D), keys (M, D), own logits o (N,), −inf for none; groups (N,) and (M,) or None; weights (N,).
    An anchor that has neither an own logit nor a key adds 0 and has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, own: Tensor, weight: Tensor, *groups: Tensor
    ) -> Tensor:
        """The sum, a scalar; gradients of queries, keys and own logits are computed along with it."""
        by_queries, by_keys = _gradients(ctx, queries, keys)
        by_own, total = torch.zeros_like(own), queries.new_zeros(())
        among = sharers(len(queries) * len(keys))
        skip = Same(*groups) if groups else None
        with full_precision(queries):
            for rows, logits in blocks(queries, keys, among):
                if skip is not None:
                    logits[skip(rows)] = -torch.inf
                top = torch.maximum(logits.amax(1), own[rows]) if len(keys) else own[rows]
                nobody = top == -torch.inf
                top = top.masked_fill(nobody, 0)
                mine = (own[rows] - top).exp_()
                whole = logits.sub_(top[:, None]).exp_().sum(1).add_(mine).masked_fill_(nobody, 1)
                total += (weight[rows] * (top + whole.log())).sum()
                share = weight[rows] / whole
                by_own[rows] = mine * share
                if by_queries is not None:
                    torch.mm(logits, keys, out=by_queries[rows]).mul_(share[:, None])
                if by_keys is not None:
                    by_keys.addmm_(logits.T, queries[rows] * share[:, None])
        total, *gradients = added(among, total, by_queries, by_keys, by_own)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients of the forward pass, times that of the sum; weights and groups are constants."""
        return (*_scaled(ctx.saved_tensors, grad_outputs[0]), *[None] * (len(ctx.needs_input_grad) - 3))


class SetContrast(torch.autograd.Function):
    """``Σ_i w_i log Σ_j exp(s u_i·u_j) − s Σ_i v_i Σ_p u_i·u_p`` of one set, u being z normalized.

    z (M, D), a scalar s, groups (M,) and groups (M,), w (M,), v (M,): j are all that are not in the anchor's
    group of the first kind, p all others in its group of the second kind. s may be at most ``REACH`` / 2. An
    anchor without a candidate adds 0 to the first sum and has no gradient by it.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, scale: Tensor, *rest: Tensor) -> Tensor:
        """The sum, a scalar."""
        apart, together, weight, pull = rest
        length = z.norm(dim=1).clamp(min=1e-12)
        u, s = z / length[:, None], float(scale)
        whole, ctx.among = z.new_zeros(len(z)), sharers(len(z) ** 2)
        with full_precision(z):
            for i, j, tile in _tiles(u, apart, s, ctx.among):
                whole[i] += tile.sum(1)
                if j != i:
                    whole[j] += tile.sum(0)
            (whole,) = added(ctx.among, whole)
            near = _others(u, together).mul_(u).sum(1)
        nobody = whole == 0
        logs = whole.masked_fill_(nobody, 1).log().masked_fill_(nobody, 0)
        share = weight.masked_fill(nobody, 0) / whole
        ctx.save_for_backward(u, length, scale, apart, together, share, pull)
        return (weight * logs).sum() - s * (pull * near).sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients of z and s; the others are constants."""
        first_order()
        u, length, scale, apart, together, share, pull = ctx.saved_tensors
        s, by_u = float(scale), torch.zeros_like(u)
        both = u.new_empty(min(_side(u), len(u)) ** 2)
        with full_precision(u):
            for i, j, tile in _tiles(u, apart, s, ctx.among):
                shares = both[: tile.numel()].view_as(tile)
                tile.mul_(torch.add(share[i][:, None], share[j][None, :], out=shares))
                by_u[i].addmm_(tile, u[j])
                if j != i:
                    by_u[j].addmm_(tile.T, u[i])
            (by_u,) = added(ctx.among, by_u)
            by_u -= _others(u, together).mul_(pull[:, None])
            by_u -= _others(u * pull[:, None], together)
        along = (by_u * u).sum(1)  # the loss is a function of s·u·uᵀ: half of Σ u·∂u is s·∂s
        by_scale = along.sum() / 2 * grad_outputs[0]
        by_u.addcmul_(u, along[:, None], value=-1).mul_((s * grad_outputs[0] / length)[:, None])
        return (by_u, by_scale, *[None] * 4)


def _others(rows: Tensor, groups: Tensor) -> Tensor:
    """(M, D): for every row the sum of the others in its group."""
    _, which = groups.unique(return_inverse=True)
    total = rows.new_zeros(int(which.max()) + 1 if len(which) else 0, rows.shape[1]).index_add_(
        0, which, rows
    )
    return total[which].sub_(rows)


class Same:
    """Which entries of a block of rows belong to one group, found without a table."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        self.rows = rows
        self.sorted, self.order = columns.sort(stable=True)

    def __call__(self, which: slice) -> tuple[Tensor, Tensor]:
        """Row (counted from the block's first) and column of every such entry."""
        groups = self.rows[which].contiguous()
        first = torch.searchsorted(self.sorted, groups)
        count = torch.searchsorted(self.sorted, groups, right=True) - first
        row = torch.arange(len(groups), device=groups.device).repeat_interleave(count)
        place = torch.arange(len(row), device=groups.device) - (count.cumsum(0) - count)[row]
        return row, self.order[first[row] + place]


def blocks(queries: Tensor, keys: Tensor, among: Sharing | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Rows, and their logits with all keys, to be overwritten; this process's blocks of those of several."""
    rows = max(ROWS, BLOCK // max(len(keys), 1))
    rank, size = (among.rank, among.size) if among else (0, 1)
    rows = min(rows, max(ROWS, -(-len(queries) // size)))
    table = queries.new_empty(min(rows, len(queries)), len(keys))
    for start in range(rank * rows, len(queries), size * rows):
        which = slice(start, min(start + rows, len(queries)))
        yield which, torch.mm(queries[which], keys.T, out=table[: which.stop - start])


def sharers(entries: int) -> Sharing | None:
    """The processes that compute a table of so many entries together; None if this one does it alone."""
    return sharing() if entries >= SHARED else None


def added(among: Sharing | None, *parts: Any) -> list[Any]:
    """The sums of the parts that processes found, where there are several; None stays."""
    if among is None:
        return list(parts)
    sums = iter(among.summed([part for part in parts if part is not None]))
    return [None if part is None else next(sums) for part in parts]


def _tiles(
    u: Tensor, groups: Tensor, s: float, among: Sharing | None
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and exp(s · cosines), 0 in one group, of the tiles on and above the diagonal.

    Of several processes this one's, dealt out in turn.
    """
    side, skip = _side(u), Same(groups, groups)
    table = u.new_empty(min(side, len(u)) ** 2)
    spans = [slice(start, min(start + side, len(u))) for start in range(0, len(u), side)]
    turns = cycle(range(among.size)) if among else repeat(0)
    for one, i in enumerate(spans):
        row, column = skip(i)
        block = u[i] * s
        for j in spans[one:]:
            if next(turns) != (among.rank if among else 0):
                continue
            tile = table[: (i.stop - i.start) * (j.stop - j.start)].view(i.stop - i.start, -1)
            torch.mm(block, u[j].T, out=tile).exp_()
            inside = (column >= j.start) & (column < j.stop)
            if bool(inside.any()):
                tile[row[inside], column[inside] - j.start] = 0
            yield i, j, tile


def _side(z: Tensor) -> int:
    return TILE_CUDA if z.is_cuda else TILE


def _gradients(ctx: Any, queries: Tensor, keys: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Where the gradients go that are asked for."""
    wanted = ctx.needs_input_grad
    return torch.zeros_like(queries) if wanted[0] else None, torch.zeros_like(keys) if wanted[1] else None


def _scaled(gradients: tuple[Tensor | None, ...], by: Tensor) -> tuple[Tensor | None, ...]:
    first_order()
    return tuple(g if g is None else g * by for g in gradients)


def leaves(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, cut off when nobody will ask for gradients: a function of autograd cannot see that."""
    return tensors if torch.is_grad_enabled() else tuple(x.detach() for x in tensors)


def first_order() -> None:
    """Raise ``NotImplementedError`` where a gradient shall have one of its own."""
    if torch.is_grad_enabled():
        raise NotImplementedError("a loss in blocks has no second derivative: use its plain form")
