"""All pairs of an anchor in one loss: every positive against every negative, whatever parts they are of."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from counterpoint.core.types import Pairs
from counterpoint.objectives.contrastive import anchor_mean, repel
from counterpoint.objectives.precision import full_precision, wide


def unified(
    scores: Tensor,
    pairs: Pairs,
    sharpness: float = 16.0,
    margin: float | None = None,
    adaptive: bool = False,
) -> Tensor:
    """``(16/γ) log( 1 + Σ_n Σ_p exp γ(s_n − s_p) )``, mean over the anchors that have a positive.

    The optimization-driven unified contrastive loss of Li et al. 2022 (MetAug), arXiv:2203.05119: pairs that
    are already right hardly count. With a margin m, ``s_p − (1 − m)`` and ``s_n − m`` stand in place of the
    scores; if ``adaptive`` each is also weighted by how far it is from its optimum, ``[1 + m − s_p]₊`` and
    ``[s_n + m]₊``, as constants: the circle loss of Sun et al. 2020, arXiv:2002.10857, eq. 4 to 8. The
    released code has these weights, and sets them to 1.

    Args:
        scores: (..., N, M) in [0, 1]; there is no temperature besides γ.
        pairs: Masks of (..., N, M).
        sharpness: γ > 0; the factor 16/γ keeps the scale of the gradient.
        margin: m; none without it.
        adaptive: Weigh scores; a margin of 0.25 if none is given.

    Returns:
        A scalar ≥ 0; an anchor without negatives counts as 0.
    """
    scores = wide(scores)
    m = (0.25 if adaptive else 0.0) if margin is None else margin
    moved = margin is not None or adaptive
    near, far = (scores - (1 - m), scores - m) if moved else (scores, scores)
    if adaptive:
        near = near * (1 + m - scores.detach()).clamp(min=0)
        far = far * (scores.detach() + m).clamp(min=0)
    total = repel(sharpness * far, pairs.negative) + repel(-sharpness * near, pairs.positive)
    losses = softplus(total).masked_fill(~pairs.negative.any(-1), 0)
    return 16 / sharpness * anchor_mean(losses, pairs.positive)


def crosswise(z: Tensor, rows: Tensor) -> Tensor:
    """Scores ``(1 + cos)/2`` of anchors of each part with rows of all other parts, part by part.

    Args:
        z: (V, B, D) unit vectors.
        rows: (V, B, M, D) unit vectors: M for every anchor.

    Returns:
        (B, V, (V − 1)·M) in [0, 1].
    """
    with full_precision(z):
        cosines = torch.einsum("abd,vbmd->bavm", wide(z), wide(rows))
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return (1 + cosines[:, others].unflatten(1, (len(z), -1)).flatten(2)) / 2


def hard_margins(
    scores: Tensor, pairs: Pairs, size: Literal["large", "small", "mean"] = "large"
) -> tuple[Tensor, Tensor]:
    """Bounds (..., N) of what is made: its positives are to score no more, its negatives no less.

    Of the anchor's least positive p and greatest negative n: (min(p, n), max(p, n)) if "large", which asks
    most; the other way round if "small"; their mean twice if "mean". MetAug, section on margin-injected
    regularization. Constants here; in the released code gradients pass.

    Args:
        scores: (..., N, M); every anchor has a positive and a negative.
        pairs: Masks of (..., N, M).
        size: "large", "small" or "mean".
    """
    scores = wide(scores.detach())
    p = scores.masked_fill(~pairs.positive, torch.inf).amin(-1)
    n = scores.masked_fill(~pairs.negative, -torch.inf).amax(-1)
    if size == "mean":
        return (p + n) / 2, (p + n) / 2
    low, high = torch.minimum(p, n), torch.maximum(p, n)
    return (low, high) if size == "large" else (high, low)


def margin_injected(
    scores: Tensor, pairs: Pairs, bounds: tuple[Tensor, Tensor], weight: float = 1e-4
) -> Tensor:
    """``weight · mean_p [s_p − m_p]₊ + mean_n [m_n − s_n]₊``: 0 where made features are hard enough.

    MetAug's regularization (Li et al. 2022, arXiv:2203.05119), without which generated features may become
    easy: positives are asked down to the first bound, negatives up to the second.

    Args:
        scores: (..., N, M) of made features.
        pairs: Masks of (..., N, M).
        bounds: (..., N) each, of ``hard_margins``.
        weight: Of the positives.

    Returns:
        A scalar ≥ 0.
    """
    scores = wide(scores)
    over = (scores - bounds[0][..., None]).clamp(min=0)[pairs.positive]
    under = (bounds[1][..., None] - scores).clamp(min=0)[pairs.negative]
    return weight * over.sum() / max(len(over), 1) + under.sum() / max(len(under), 1)
