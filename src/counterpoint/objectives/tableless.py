"""Contrast of vectors by cosine without the (N, M) table of logits: what the methods use.

The same numbers and gradients as ``contrastive.contrast`` on ``cosine_logits`` with the masks of
``pairs.ids.same_sample`` or ``pairs.labels.same_class``; pairs are given as groups (ids, labels), one integer
a row. Memory grows with the number of vectors, and time is less from a batch of some hundred on. Gradients
are first-order only. Where each process has rows of its own alone: ``objectives.ring``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from counterpoint.objectives.contrastive import info_nce_streamed
from counterpoint.objectives.precision import full_precision, wide
from counterpoint.objectives.streamed import (
    BLOCK,
    REACH,
    ROWS,
    RowLogSum,
    SetContrast,
    added,
    first_order,
    leaves,
    sharers,
)


def contrast_within(
    z: Tensor,
    groups: Tensor,
    temperature: float | Tensor,
    *,
    decoupled: bool = False,
    pull: Tensor | None = None,
) -> Tensor:
    """Contrast in one set of vectors: the others of an anchor's group are its positives.

    ``ℓ_i = −u_i mean_p cos_ip/τ + log Σ_a exp(cos_ia/τ)``, mean over the anchors that have a positive, where
    a are all others, or those of other groups if ``decoupled``. With the ids of samples as groups this is
    NT-Xent (SimCLR) or DCL and DCLW, with labels it is SupCon "out".

    Args:
        z: (M, D), any floating type; normalized here; a vector of zeros is like nothing.
        groups: (M,) integers.
        temperature: τ > 0; a scalar tensor gets its gradient.
        decoupled: No positives in the denominator; the loss may then be < 0.
        pull: (M,) weights u of the positives, constant; 1 without it.

    Returns:
        A scalar; 0 if no anchor has a positive.

    Raises:
        ValueError: the shapes do not fit.
    """
    if z.ndim != 2 or groups.shape != z.shape[:1]:
        raise ValueError(
            f"z, groups: expected (M, D) and (M,), found {tuple(z.shape)} and {tuple(groups.shape)}"
        )
    _, which, size = groups.unique(return_inverse=True, return_counts=True)
    z, count = wide(z), size[which] - 1
    counted = (count > 0).to(z)
    weights = counted / count.clamp(min=1) * (1 if pull is None else pull.to(z))
    scale = 1 / torch.as_tensor(temperature, dtype=z.dtype, device=z.device)
    apart = groups if decoupled else torch.arange(len(z), device=z.device)
    return _of_set(z, scale, apart, which, counted, weights) / counted.sum().clamp(min=1)


def contrast_between(queries: Tensor, keys: Tensor, temperature: float | Tensor) -> Tensor:
    """Every query finds the key of its row among all keys: InfoNCE of cosines, one direction.

    ``contrastive.info_nce_streamed`` after normalization.

    Args:
        queries: (N, D), any floating type.
        keys: (M, D), M ≥ N; those from row N on are negatives of all.
        temperature: τ > 0; a scalar tensor gets its gradient.

    Returns:
        A scalar ≥ 0, 0 if there is no query.

    Raises:
        ValueError: the shapes do not fit.
    """
    with full_precision(queries):
        q, k = (normalize(wide(x), dim=1) for x in (queries, keys))
    return info_nce_streamed(q, k, temperature)


def contrast_past(
    queries: Tensor,
    keys: Tensor,
    past: Tensor,
    temperature: float | Tensor,
    groups: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Every query finds its own key among the keys of earlier steps: MoCo's InfoNCE.

    ``ℓ_i = −log( exp(cos(q_i, k_i)/τ) / (exp(cos(q_i, k_i)/τ) + Σ_a exp(cos(q_i, p_a)/τ)) )``, mean over i.
    He et al. 2020, arXiv:1911.05722, eq. 1.

    Args:
        queries: (N, D), any floating type; normalized here, as the others are.
        keys: (N, D).
        past: (M, D); no gradient reaches them.
        temperature: τ > 0; a scalar tensor gets its gradient.
        groups: Ids (N,) of the queries and (M,) of the past: a key of one's own sample is no negative.

    Returns:
        A scalar ≥ 0, up to rounding; 0 without a query.
    """
    with full_precision(queries):
        q, k, p = (normalize(wide(x), dim=1) for x in (queries, keys, past.detach()))
        q = q / temperature
        own = (q * k).sum(1)
    total: Tensor = RowLogSum.apply(*leaves(q, p, own), torch.ones_like(own.detach()), *(groups or ()))
    return (total - own.sum()) / max(len(q), 1)


def pairwise_sigmoid_streamed(
    queries: Tensor, keys: Tensor, scale: float | Tensor, bias: float | Tensor
) -> Tensor:
    """Every pair judged for itself, positives at equal rows: the sigmoid loss without a table.

    ``(1/N) Σ_ij −log σ(±(t q_i·k_j + b))``, + where i = j. Zhai et al. 2023 (SigLIP), arXiv:2303.15343.

    Args:
        queries: (N, D), any floating type; taken as they are.
        keys: (N, D).
        scale: t; a scalar tensor gets its gradient.
        bias: b; a scalar tensor gets its gradient.

    Returns:
        A scalar ≥ 0, 0 without a query.

    Raises:
        ValueError: the shapes differ.
    """
    if queries.ndim != 2 or queries.shape != keys.shape:
        raise ValueError(
            f"queries, keys: expected (N, D) both, found {tuple(queries.shape)} and {tuple(keys.shape)}"
        )
    t, b = (torch.as_tensor(x, dtype=wide(queries).dtype, device=queries.device) for x in (scale, bias))

    def losses(rows: slice, q: Tensor, k: Tensor, t: Tensor, b: Tensor) -> Tensor:
        logits = t * (q @ k.T) + b
        own = logits.diagonal(rows.start)
        return -logsigmoid(-logits).sum() + (logsigmoid(-own) - logsigmoid(own)).sum()

    return by_rows(losses, wide(queries), wide(keys), t, b) / max(len(queries), 1)


def by_rows(losses: Callable[..., Tensor], queries: Tensor, *others: Tensor) -> Tensor:
    """The sum over anchors of any loss that looks at one row of logits at a time, in blocks of rows.

    What no closed form is made for goes through here: mined or mixed candidates, weights and margins that are
    functions of the pair, soft targets of low rank (``targets = a @ b.T``, made a block at a time).

    Args:
        losses: ``losses(rows, queries[rows], *others)`` → a scalar, the sum over these anchors; ``rows`` is a
            slice, to pick ids, labels or factors of weights.
        queries: (N, D), split in blocks.
        others: Tensors given whole to every block, (M, D) keys first, by whose number blocks are sized.

    Returns:
        A scalar; gradients reach ``queries`` and ``others`` (first-order), and nothing that ``losses`` holds.
    """
    return _ByRows.apply(losses, *leaves(queries, *others))  # pyright: ignore[reportReturnType]


class _ByRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, losses: Callable[..., Tensor], queries: Tensor, *others: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[1:]
        count = len(others[0]) if others and others[0].ndim else 1
        among = sharers(len(queries) * count)
        rank, size = (among.rank, among.size) if among else (0, 1)
        rows = max(ROWS, min(BLOCK // max(count, 1), -(-len(queries) // size)))
        whole = [x.detach().requires_grad_(ask) for x, ask in zip(others, wanted[1:], strict=True)]
        sums = [torch.zeros_like(x) for x in (queries, *others)]
        total = queries.new_zeros(())
        for start in range(rank * rows, len(queries), size * rows):
            which = slice(start, min(start + rows, len(queries)))
            block = queries[which].detach().requires_grad_(wanted[0])
            asked = [x for x in (block, *whole) if x.requires_grad]
            with torch.set_grad_enabled(bool(asked)), full_precision(queries):
                loss = losses(which, block, *whole)
                found = iter(torch.autograd.grad(loss, asked, allow_unused=True) if asked else ())
            total += loss.detach()
            for x, into in zip((block, *whole), (sums[0][which], *sums[1:]), strict=True):
                if x.requires_grad and (gradient := next(found)) is not None:
                    into.add_(gradient)
        total, *sums = added(among, total, *(s if ask else None for s, ask in zip(sums, wanted, strict=True)))
        ctx.save_for_backward(*sums)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        first_order()
        return (None, *(g if g is None else g * grad_outputs[0] for g in ctx.saved_tensors))


def _of_set(z: Tensor, scale: Tensor, apart: Tensor, together: Tensor, w: Tensor, v: Tensor) -> Tensor:
    """``SetContrast``, or the same by rows where its exponentials would not have one scale."""
    if 2 * float(scale.detach()) <= REACH:
        return SetContrast.apply(*leaves(z, scale), apart, together, w, v)  # pyright: ignore[reportReturnType]
    with full_precision(z):
        u = normalize(z, dim=1)
        total = u.new_zeros(int(together.max()) + 1, u.shape[1]).index_add(0, together, u)
        near = ((total[together] - u) * u).sum(1) * scale
        (scaled,) = leaves(u * scale)
    none = u.new_full((len(u),), -torch.inf)
    return RowLogSum.apply(scaled, *leaves(u), none, w, apart, apart) - (v * near).sum()
