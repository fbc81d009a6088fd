"""InfoNCE between two sets without their table of logits: memory grows with N, not with N².

A block of rows is done from logits to gradient while it is in the cache: the softmax of a row needs nothing
but that row, and the loss is a number, so its gradient is known up to a factor when the row has been read.
Nothing is kept for the backward pass but the two gradients, and nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from counterpoint.objectives.precision import full_precision

BLOCK = 2**20
"""Entries of a block of logits: 4 MiB in float32, about what a processor's cache holds."""
ROWS = 64
"""Rows that a block has at least; matrix products of fewer are slow."""


class RowwiseInfoNCE(torch.autograd.Function):
    """Σ_i ( log Σ_j exp(q_i·k_j) − q_i·k_i ) of queries (N, D) and keys (M, D), M ≥ N; float32 or double."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor) -> Tensor:
        """The sum, a scalar; both gradients are computed along with it where they are asked for."""
        wanted = ctx.needs_input_grad
        by_queries = torch.empty_like(queries) if wanted[0] else None
        by_keys = torch.zeros_like(keys) if wanted[1] else None
        rows = max(ROWS, BLOCK // max(len(keys), 1))
        table = queries.new_empty(min(rows, len(queries)), len(keys))
        total = queries.new_zeros(())
        with full_precision(queries):
            for start in range(0, len(queries), rows):
                block = queries[start : start + rows]
                logits = torch.mm(block, keys.T, out=table[: len(block)])
                own = logits.diagonal(start)
                top = logits.amax(1)
                total += (top - own).sum()
                whole = logits.sub_(top[:, None]).exp_().sum(1)
                total += whole.log().sum()
                own.sub_(whole)  # rows are now (softmax − one-hot) · whole
                if by_queries is not None:
                    part = torch.mm(logits, keys, out=by_queries[start : start + rows])
                    part /= whole[:, None]
                if by_keys is not None:
                    by_keys.addmm_(logits.T, block / whole[:, None])
        ctx.save_for_backward(by_queries, by_keys)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        """The gradients of the forward pass, times that of the sum; there is no second derivative."""
        if torch.is_grad_enabled():
            raise NotImplementedError("InfoNCE in blocks has no second derivative: use info_nce")
        return tuple(g if g is None else g * grad_outputs[0] for g in ctx.saved_tensors)
