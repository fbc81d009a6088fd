"""Candidates: columns that anchors are compared with, from the batch, a queue, a table, or made by mixing.

``joined(own(in_batch(ids, keys, ids)), remembered(ids, queue.read()))`` is MoCo: each query's own key, and
the queue as negatives. Several sources in one table of logits share one softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.pairs.ids import same_sample


@dataclass(frozen=True, slots=True)
class Candidates:
    """Embeddings, and what each is to every anchor."""

    rows: Tensor
    """(M, D)."""
    pairs: Pairs
    """Masks of (N, M)."""


def in_batch(anchor_ids: Tensor, rows: Tensor, row_ids: Tensor) -> Candidates:
    """Embeddings (M, D) of the batch's samples: those of the anchor's sample positive, the others negative.

    Args:
        anchor_ids: (N,) integers.
        rows: (M, D), other embeddings than the anchors themselves.
        row_ids: (M,) integers.
    """
    return Candidates(rows, same_sample(anchor_ids, row_ids))


def own(candidates: Candidates) -> Candidates:
    """The positives alone: what was negative is in neither mask."""
    pairs = candidates.pairs
    return Candidates(candidates.rows, Pairs(pairs.positive, torch.zeros_like(pairs.negative)))


def remembered(anchor_ids: Tensor, rows: Tensor, row_ids: Tensor | None = None) -> Candidates:
    """Embeddings of earlier steps: negatives of everyone but their own sample, to which they are nothing.

    Args:
        anchor_ids: (N,) integers.
        rows: (M, D), e.g. of a queue or a table; a gradient does not reach them.
        row_ids: (M,) integers; without it all are negatives of all (He et al. 2020, MoCo, arXiv:1911.05722).
    """
    none = torch.zeros(len(anchor_ids), len(rows), dtype=torch.bool, device=rows.device)
    negative = ~none if row_ids is None else anchor_ids[:, None] != row_ids[None, :]
    return Candidates(rows.detach(), Pairs(none, negative))


def joined(*sources: Candidates) -> Candidates:
    """All columns side by side, in the order given; the anchors must be the same."""
    return Candidates(
        torch.cat([source.rows for source in sources]),
        Pairs(
            torch.cat([source.pairs.positive for source in sources], 1),
            torch.cat([source.pairs.negative for source in sources], 1),
        ),
    )


def beside(logits: Tensor, pairs: Pairs, own_negatives: Tensor) -> tuple[Tensor, Pairs]:
    """Columns for all, and to their right each anchor's own negatives, such as ``mixed`` makes.

    Args:
        logits: (N, M).
        pairs: Masks of (N, M).
        own_negatives: (N, S) logits.

    Returns:
        (N, M + S) logits and masks.
    """
    new = torch.ones_like(own_negatives, dtype=torch.bool)
    positive = torch.cat([pairs.positive, ~new], 1)
    return torch.cat([logits, own_negatives], 1), Pairs(positive, torch.cat([pairs.negative, new], 1))


@torch.no_grad()
def mixed(rows: Tensor, hard: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """New negatives between two hard ones each: ``h = normalize(α n_i + (1 − α) n_j)``, α uniform in [0, 1].

    Kalantidis et al. 2020 (MoCHi), arXiv:2010.01028.

    Args:
        rows: (M, D) unit vectors.
        hard: (N, H) rows that are hard for each anchor.
        count: How many for each anchor.
        rng: Draws i, j and α.

    Returns:
        (N, count, D) unit vectors, each anchor's own columns; without a gradient.
    """
    one, other = (_drawn(rows, hard, count, rng) for _ in range(2))
    share = torch.rand(len(hard), count, 1, generator=rng).to(rows)
    return normalize(share * one + (1 - share) * other, dim=-1)


@torch.no_grad()
def mixed_with_anchor(
    anchors: Tensor, rows: Tensor, hard: Tensor, count: int, rng: torch.Generator, most: float = 0.5
) -> Tensor:
    """New negatives between the anchor and a hard one: ``h = normalize(β q + (1 − β) n_j)``.

    Kalantidis et al. 2020 (MoCHi), arXiv:2010.01028.

    Args:
        anchors: (N, D) unit vectors.
        rows: (M, D) unit vectors.
        hard: (N, H) rows that are hard for each anchor.
        count: How many for each anchor.
        rng: Draws j and β.
        most: β is uniform in [0, most]; above a half the new one would be nearer to the anchor than to n_j.

    Returns:
        (N, count, D) unit vectors, each anchor's own columns; without a gradient.
    """
    other = _drawn(rows, hard, count, rng)
    share = most * torch.rand(len(hard), count, 1, generator=rng).to(rows)
    return normalize(share * anchors[:, None] + (1 - share) * other, dim=-1)


def _drawn(rows: Tensor, hard: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """(N, count, D): for each anchor rows at random, with repetition, from those that are hard for it."""
    which = torch.randint(hard.shape[1], (len(hard), count), generator=rng).to(hard.device)
    return rows[hard.gather(1, which)]
