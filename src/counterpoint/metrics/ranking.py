"""How high the right answers stand when candidates are sorted by a score.

``ranked`` sorts once; the rest read its result, (Q, M) bool: is the candidate at this place a right one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.errors import InputError


def ranked(scores: Tensor, right: Tensor) -> Tensor:
    """Sort the candidates of every query by falling score: (Q, M) bool, right or not, place by place.

    ``scores`` are (Q, M), higher is better; ``right`` is (Q, M) bool. Of equal scores the wrong ones
    come first, so that scores which say nothing earn nothing.

    Raises:
        InputError: shapes that differ, NaN scores, or a query without a right candidate.
    """
    if scores.shape != right.shape or scores.ndim != 2:
        raise InputError(
            f"ranking: expected scores and right of one shape (Q, M), found {tuple(scores.shape)} "
            f"and {tuple(right.shape)}"
        )
    if scores.isnan().any():
        raise InputError("ranking: expected numbers as scores, found NaN")
    if not right.any(1).all():
        raise InputError("ranking: expected a right candidate for every query, found a query without one")
    wrong_first = right.byte().argsort(dim=1, stable=True)
    order = scores.gather(1, wrong_first).argsort(dim=1, descending=True, stable=True)
    return right.gather(1, wrong_first).gather(1, order)


def first_place(hits: Tensor) -> Tensor:
    """Place of the first right candidate of each query, from 1: (Q,) int64, of what ``ranked`` returns."""
    return hits.byte().argmax(1) + 1


def average_precision(hits: Tensor) -> Tensor:
    """Mean precision at the places of the right candidates of each query: (Q,) float64 in (0, 1].

    Its mean over the queries is mAP. Source: Manning, Raghavan & Schütze 2008, "Introduction to information
    retrieval", ch. 8.4.
    """
    found = hits.double()
    places = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return (found.cumsum(1) / places * found).sum(1) / found.sum(1)


def recall_at(places: Tensor, k: int) -> float:
    """Share of the queries, in [0, 1], whose ``first_place`` is among the first ``k``."""
    if k < 1:
        raise InputError(f"k: expected at least 1, found {k}")
    return float((places <= k).double().mean())
