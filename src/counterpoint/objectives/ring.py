"""Contrast with the vectors of other processes, which go around in a ring so that none holds all of them.

Every process has rows of its own. Blocks of keys go from each to the next until they are home again; what is
kept of a block is a number for each row (streamed log-sum-exp). Backwards they go around once more, and the
gradient that each process has for them goes with them. Memory of a process is linear in its own rows, and its
work is that with all rows, divided by the number of processes. Gradients are first-order only.

The loss is the same number in every process, and the gradient of own rows is that of the loss of all. So
the gradients of weights by which rows were made are sums over the processes; ``DistributedDataParallel``
takes their mean: give it ``ring.size`` times the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.sharing import Sharing
from counterpoint.objectives.precision import full_precision, wide
from counterpoint.objectives.streamed import Same, blocks, first_order, leaves

Pick = Callable[[slice], tuple[Tensor, Tensor]]
"""Rows (counted from the slice's first) and columns of some entries."""


def contrast_ring(
    z: Tensor,
    groups: Tensor,
    temperature: float | Tensor,
    ring: Sharing,
    *,
    decoupled: bool = False,
    pull: Tensor | None = None,
) -> Tensor:
    """``tableless.contrast_within`` of the rows of all processes: NT-Xent, SupCon "out", DCL.

    Args:
        z: (B, D), own rows, any floating type; normalized here.
        groups: (B,) integers, whose meaning all processes share: a sample's id, a label.
        temperature: τ > 0; a scalar tensor gets this process's part of its gradient.
        ring: The processes.
        decoupled: No positives in the denominator; the loss may then be < 0.
        pull: (B,) weights of the positives, constant; 1 without it.

    Returns:
        A scalar, the same in every process; 0 if no anchor has a positive.

    Raises:
        ValueError: the shapes do not fit.
    """
    if z.ndim != 2 or groups.shape != z.shape[:1]:
        raise ValueError(
            f"z, groups: expected (B, D) and (B,), found {tuple(z.shape)} and {tuple(groups.shape)}"
        )
    z, sizes = wide(z), _sizes(z, ring)
    rows = torch.arange(len(z), device=z.device) + sum(sizes[: ring.rank])
    count = -torch.ones_like(rows)  # not oneself
    for (theirs,) in _round(ring, sizes, [groups]):
        both, which = torch.cat([groups, theirs]).unique(return_inverse=True)
        count += which[len(groups) :].bincount(minlength=len(both))[which[: len(groups)]]
    counted = (count > 0).to(z)
    weights = counted / count.clamp(min=1) * (1 if pull is None else pull.to(z))
    with full_precision(z):
        u = normalize(z, dim=1)
        scaled = u / temperature
    apart = groups if decoupled else rows
    total: Tensor = _Ring.apply(*leaves(scaled, u), counted, None, weights, apart, groups, rows, sizes, ring)  # pyright: ignore[reportAssignmentType]
    return total / ring.summed([counted.sum()])[0].clamp(min=1)


def info_nce_ring(
    queries: Tensor, keys: Tensor, temperature: float | Tensor, ring: Sharing, *, both: bool = False
) -> Tensor:
    """``contrastive.info_nce_streamed`` of the rows of all processes, positives at equal rows.

    Args:
        queries: (B, D), own rows, any floating type; taken as they are, so normalize before for cosines.
        keys: (B, D).
        temperature: τ > 0; a scalar tensor gets this process's part of its gradient.
        ring: The processes.
        both: The mean of this direction and that from keys to queries, in one round.

    Returns:
        A scalar ≥ 0, the same in every process; 0 if nobody has a query.

    Raises:
        ValueError: the shapes differ.
    """
    if queries.ndim != 2 or queries.shape != keys.shape:
        raise ValueError(
            f"queries, keys: expected (B, D) both, found {tuple(queries.shape)} and {tuple(keys.shape)}"
        )
    queries, keys, sizes = wide(queries), wide(keys), _sizes(queries, ring)
    rows = torch.arange(len(queries), device=queries.device) + sum(sizes[: ring.rank])
    ones = queries.new_ones(len(queries))
    weight, back = (ones / 2, ones / 2) if both else (ones, None)
    total: Tensor = _Ring.apply(
        *leaves(queries / temperature, keys), weight, back, ones, None, rows, None, sizes, ring
    )  # pyright: ignore[reportAssignmentType]
    return total / max(sum(sizes), 1)


class _Ring(torch.autograd.Function):
    """``Σ_i w_i log Σ_j exp l_ij + Σ_j b_j log Σ_i exp l_ij − Σ_i v_i Σ_p l_ip`` of all rows, l = q·k.

    Own queries (B, D) and keys (B, D), w (B,) of queries, b (B,) of keys or None, v (B,). Three integers for
    every row say who is compared: j are the keys with another ``apart`` (None: all), p those with the same
    ``together`` but for those with the same ``own`` (None: all). ``sizes``: the B of each process.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        weight: Tensor,
        back: Tensor | None,
        pull: Tensor,
        apart: Tensor | None,
        together: Tensor,
        own: Tensor | None,
        sizes: list[int],
        ring: Sharing,
    ) -> Tensor:
        """The sum over all processes, a scalar."""
        whole, pairs = queries.new_full((len(queries),), -torch.inf), _Pairs(apart, together, own)
        carried = [keys, torch.full_like(whole, -torch.inf), *pairs.given]
        total = queries.new_zeros(())
        with full_precision(queries):
            for block, across, *theirs in _round(ring, sizes, carried):
                near, far = pairs.of(theirs)
                for rows, logits in blocks(queries, block) if len(block) else ():
                    row, column = near(rows)
                    total -= (logits[row, column] * pull[rows][row]).sum()
                    if far is not None:
                        logits[far(rows)] = -torch.inf
                    whole[rows] = torch.logaddexp(whole[rows], logits.logsumexp(1))
                    if back is not None:
                        across.copy_(torch.logaddexp(across, logits.logsumexp(0)))
        total += _weighted(weight, whole)
        if back is not None:
            total += _weighted(back, carried[1])
        ctx.save_for_backward(queries, keys, weight, back, pull, whole, carried[1], apart, together, own)
        ctx.sizes, ctx.ring = sizes, ring
        return ring.summed([total])[0]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients of own queries and keys; those of keys went around."""
        first_order()
        queries, keys, weight, back, pull, whole, across, apart, together, own = ctx.saved_tensors
        pairs, by_queries = _Pairs(apart, together, own), torch.zeros_like(queries)
        logs, share = _finite(whole), weight.masked_fill(whole == -torch.inf, 0)
        ends = [] if back is None else [across, back]
        carried = [keys, torch.zeros_like(keys), *ends, *pairs.given]
        with full_precision(queries):
            for block, by_block, *theirs in _round(ctx.ring, ctx.sizes, carried):
                near, far = pairs.of(theirs[len(ends) :])
                for rows, logits in blocks(queries, block) if len(block) else ():
                    row, column = near(rows)
                    if far is not None:
                        logits[far(rows)] = -torch.inf
                    slopes = (logits - logs[rows, None]).exp_().mul_(share[rows, None])
                    if ends:
                        slopes += logits.sub_(theirs[0]).exp_().mul_(theirs[1])
                    slopes.index_put_((row, column), -pull[rows][row], accumulate=True)
                    by_queries[rows] += slopes @ block
                    by_block.addmm_(slopes.T, queries[rows])
        return by_queries.mul_(grad_outputs[0]), carried[1].mul_(grad_outputs[0]), *[None] * 8


class _Pairs:
    """Who is compared with whom, of own rows and those of a block."""

    def __init__(self, apart: Tensor | None, together: Tensor, own: Tensor | None) -> None:
        self.apart, self.together, self.own = apart, together, own
        self.given = [x for x in (together, apart, own) if x is not None]
        """What must go around."""

    def of(self, theirs: Sequence[Tensor]) -> tuple[Pick, Pick | None]:
        """Which entries of some rows are positives, and which do not count; of ``given`` of a block."""
        rest = list(theirs)
        near = Same(self.together, rest.pop(0))
        far = None if self.apart is None else Same(self.apart, rest.pop(0))
        if self.own is None:
            return near, far
        mine, other = self.own, rest.pop(0)

        def others(rows: slice) -> tuple[Tensor, Tensor]:
            row, column = near(rows)
            keep = mine[rows][row] != other[column]
            return row[keep], column[keep]

        return others, far


def _round(ring: Sharing, sizes: Sequence[int], carried: list[Tensor]) -> Iterator[list[Tensor]]:
    """Blocks of each process, own first; in the end ``carried`` holds own ones, with what was put in."""
    for step in range(ring.size):
        yield carried
        if ring.size > 1:
            carried[:] = ring.passed(carried, sizes[(ring.rank - step - 1) % ring.size])


def _sizes(x: Tensor, ring: Sharing) -> list[int]:
    """How many rows each process has."""
    counts = torch.zeros(ring.size, dtype=torch.int64, device=x.device)
    counts[ring.rank] = len(x)
    return ring.summed([counts])[0].tolist()


def _weighted(weight: Tensor, logs: Tensor) -> Tensor:
    """Σ w·log, where the log of nothing counts 0."""
    return (weight * _finite(logs)).sum()


def _finite(logs: Tensor) -> Tensor:
    return logs.masked_fill(logs == -torch.inf, 0)
