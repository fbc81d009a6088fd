"""Assignment: one view predicts to which prototypes another view was assigned.

Codes are target distributions over K prototypes, made without a gradient: balanced by ``sinkhorn`` (SwAV) or
centered and sharpened by ``centered`` (DINO). ``swapped`` is the cross entropy of a prediction with them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from counterpoint.objectives.precision import wide


@torch.no_grad()
def sinkhorn(scores: Tensor, sharpness: float = 0.05, rounds: int = 3) -> Tensor:
    """Codes that give every prototype an equal share of the samples, as near as the rounds come to it.

    From ``Q = exp(scores/ε)``, every round scales each prototype's column to a sum of 1/K and then each
    sample's row to 1/B; rows are given back with a sum of 1. Computed on logarithms: nothing overflows.
    Caron et al. 2020 (SwAV), arXiv:2006.09882, eq. 3 to 5.

    Args:
        scores: (B, K) of samples on prototypes, any floating type; rows of a queue may stand below.
        sharpness: ε > 0; larger is softer.
        rounds: ≥ 1; 3 in the paper.

    Returns:
        (B, K) in float32 at least, rows sum to 1.

    Raises:
        ValueError: no round, or a sharpness that is not positive.
    """
    if rounds < 1 or sharpness <= 0:
        raise ValueError(f"rounds, sharpness: expected ≥ 1 and > 0, found {rounds} and {sharpness}")
    samples, prototypes = scores.shape
    q = wide(scores) / sharpness
    for _ in range(rounds):
        q = q - q.logsumexp(0) - math.log(prototypes)
        q = q - q.logsumexp(1, keepdim=True) - math.log(max(samples, 1))
    return q.softmax(1)


@torch.no_grad()
def centered(logits: Tensor, center: Tensor, temperature: float = 0.04) -> Tensor:
    """Codes ``softmax((logits − center)/temperature)``.

    Centering alone drives codes to uniform, sharpening alone to one prototype; together they hold.
    Caron et al. 2021 (DINO), arXiv:2104.14294, section 3.1.

    Args:
        logits: (..., K) of the teacher, any floating type.
        center: (K,) running mean of the teacher's logits.
        temperature: > 0; small is sharp.

    Returns:
        (..., K) in float32 at least, rows sum to 1.
    """
    return ((wide(logits) - wide(center)) / temperature).softmax(-1)


def swapped(scores: Tensor, codes: Tensor, temperature: float = 0.1) -> Tensor:
    """``−Σ_k codes_k log softmax(scores/temperature)_k``, mean over rows: SwAV (arXiv:2006.09882, eq. 2).

    Args:
        scores: (..., K) of one view, any floating type.
        codes: (..., K) of another view of the same samples; no gradient reaches them.
        temperature: > 0.

    Returns:
        A scalar ≥ 0.

    Raises:
        ValueError: the shapes differ.
    """
    if scores.shape != codes.shape:
        raise ValueError(f"codes: expected {tuple(scores.shape)}, found {tuple(codes.shape)}")
    shares = (wide(scores) / temperature).log_softmax(-1)
    return -(wide(codes.detach()) * shares).sum() / max(scores.shape[:-1].numel(), 1)


def centered_cross_entropy(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Cross entropy of the student with the teacher's centered and sharpened codes: DINO, for two views.

    Caron et al. 2021, arXiv:2104.14294, eq. 2 and 3 (one pair of its sum).

    Args:
        student: (..., K) logits of one view.
        teacher: (..., K) logits of another view; no gradient reaches them.
        center: (K,).
        student_temperature: > 0.
        teacher_temperature: > 0, below the student's.

    Returns:
        A scalar ≥ 0.
    """
    return swapped(student, centered(teacher, center, teacher_temperature), student_temperature)
