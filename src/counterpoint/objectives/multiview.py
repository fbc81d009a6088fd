"""Many views: all views of a sample in one term, and the simpler sums over pairs of views.

Embeddings are (V, N, D): view v of sample n; V ≥ 2. They are brought to unit length here. With
``e(i,l; j,m) = exp(⟨u_il, u_jm⟩ / τ)`` for view l of sample i:

- ``mv_info_nce`` and ``mv_dhel``: one logarithm over all views of a sample;
- ``pairwise``, ``averaged``, ``poly_view``: what is done without them.

All but ``averaged`` are settings of the core in ``objectives.contrastive``.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import (
    align,
    anchor_mean,
    contrast,
    cosine_logits,
    info_nce,
    repel,
)
from counterpoint.objectives.precision import full_precision, wide


def mv_info_nce(z: Tensor, temperature: float, *, across: bool = False) -> Tensor:
    """``−log( Σ_{l≠m} e(i,l; i,m) / Σ_{l} Σ_{(j,m)} e(i,l; j,m) )``, mean over samples i.

    Koromilas et al. 2025, arXiv:2507.06979, MV-InfoNCE (section IV). Below the line stand all pairs of a view
    of i with any other embedding; the sums stand inside the logarithm, so that the best pair counts most.

    Args:
        z: (V, N, D).
        temperature: τ > 0.
        across: Leave pairs of the same view out below the line, as the formula in the authors' README does;
            their code has them.

    Returns:
        A scalar ≥ 0.
    """
    table, pairs, same_view = _table(z, temperature)
    negative = pairs.negative & ~same_view if across else pairs.negative
    losses = contrast(_by_sample(table, z), _weights(pairs, table, z), _by_sample(negative, z), inside=True)
    return losses.mean()


def mv_dhel(z: Tensor, temperature: float) -> Tensor:
    """``−log Σ_{l≠m} e(i,l; i,m) + Σ_l log Σ_{j≠i} e(i,l; j,l)``, mean over samples i; may be < 0.

    Koromilas et al. 2025, arXiv:2507.06979, MV-DHEL (section IV): views of other samples repel only those of
    their own kind, and no positive stands among them. The authors' code has each pair of views once: log 2
    more. Two views are DHEL (Koromilas et al. 2024, arXiv:2405.18045), less that log 2.

    Args:
        z: (V, N, D).
        temperature: τ > 0.

    Returns:
        A scalar; its scale grows with V.
    """
    table, pairs, same_view = _table(z, temperature)
    together = align(_by_sample(table, z), _weights(pairs, table, z), inside=True)
    apart = repel(table, pairs.negative & same_view)
    return (together + _by_sample(apart, z).sum(1)).mean()


def pairwise(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent of two views, mean over all pairs of views: (V, N, D) → a scalar ≥ 0. PWE of the paper."""
    _checked(z)
    pairs = _same(z.shape[1], 2, z.device)
    losses = []
    for one, other in combinations(z, 2):
        rows = torch.cat([one, other])
        losses.append(info_nce(cosine_logits(rows, rows, temperature), pairs))
    return torch.stack(losses).mean()


def averaged(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent of every view and the mean of the others' unit vectors: (V, N, D) → a scalar ≥ 0. AVG.

    The mean is not brought to unit length, as in the authors' code: where views disagree it is short.
    """
    _checked(z)
    u = normalize(wide(z), dim=-1)
    pairs = _same(z.shape[1], 2, z.device)
    losses = []
    for view in u:
        rows = torch.cat([view, (u.sum(0) - view) / (len(u) - 1)])
        with full_precision(rows):
            losses.append(info_nce(rows @ rows.T / temperature, pairs))
    return torch.stack(losses).mean()


def poly_view(z: Tensor, temperature: float) -> Tensor:
    """Every ordered pair of views for itself, against all views of other samples: (V, N, D) → a scalar ≥ 0.

    Shidani et al. 2024 (Poly-View), arXiv:2403.05490, the geometric form; PVC of Koromilas et al.
    """
    table, pairs, _ = _table(z, temperature)
    losses = contrast(table, pairs.positive, pairs.negative, denominator="each")
    return anchor_mean(losses, pairs.positive)


def _table(z: Tensor, temperature: float) -> tuple[Tensor, Pairs, Tensor]:
    """Logits (V·N, V·N), who belongs together, and which embeddings are of the same view."""
    _checked(z)
    views, count = z.shape[:2]
    rows = z.flatten(0, 1)
    view = torch.arange(views, device=z.device).repeat_interleave(count)
    pairs = _same(count, views, z.device)
    return cosine_logits(rows, rows, temperature), pairs, view[:, None] == view[None, :]


def _same(count: int, views: int, device: torch.device) -> Pairs:
    """Embeddings of one sample belong together, samples taking turns within a view."""
    sample = torch.arange(count, device=device).repeat(views)
    alike = sample[:, None] == sample[None, :]
    itself = torch.eye(len(sample), dtype=torch.bool, device=device)
    return Pairs(alike & ~itself, ~alike)


def _weights(pairs: Pairs, like: Tensor, z: Tensor) -> Tensor:
    """(N, V·V·N): weights of 1, by which the core sums positives where it would average a mask."""
    return _by_sample(pairs.positive, z).to(like)


def _by_sample(rows: Tensor, z: Tensor) -> Tensor:
    """(V·N, ...) → (N, V·...): all rows of a sample side by side."""
    views, count = z.shape[:2]
    return rows.view(views, count, -1).transpose(0, 1).flatten(1)


def _checked(z: Tensor) -> None:
    """Raises ``ValueError`` unless there are two views at least."""
    if z.ndim != 3 or len(z) < 2:
        raise ValueError(f"z: expected (V, N, D) with V ≥ 2, found {tuple(z.shape)}")
