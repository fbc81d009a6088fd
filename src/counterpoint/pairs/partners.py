"""Pairs by partner: every anchor is told of what class its positives are, which may be any."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from counterpoint.core.types import Pairs

Partner = Literal["arbitrary", "identical", "distinct"]


def partners(labels: Tensor, kind: Partner, classes: int, rng: torch.Generator) -> Tensor:
    """The class that each anchor's positives are of.

    Wu et al. 2024 (Hydra, later SimLAP), arXiv:2410.18200.

    Args:
        labels: (N,) integers in [0, classes).
        kind: "arbitrary" shuffles the labels, so that everyone has a positive and pairs come as often as
            their classes do; "identical" keeps them (supervised contrast); "distinct" draws any other class,
            of which the batch may have nobody.
        classes: How many classes there are.
        rng: Draws, on the CPU.

    Returns:
        (N,) labels.
    """
    if kind == "identical":
        return labels
    if kind == "arbitrary":
        return labels[torch.randperm(len(labels), generator=rng).to(labels.device)]
    step = torch.randint(1, max(classes, 2), labels.shape, generator=rng)
    return (labels + step.to(labels)) % classes


def of_partner(labels: Tensor, partner: Tensor) -> Pairs:
    """Those of the partner's class are positives; negatives are of neither this class nor the anchor's.

    With one's own class among the negatives, the positives of one anchor would be negatives of the same two
    classes the other way round, and the loss would fight itself. Where the partner is one's own class an
    anchor is a positive of itself too, as in the authors' code: it pulls nobody, and repels once more.

    Args:
        labels: (N,) integers.
        partner: (N,) integers, as ``partners`` gives them.

    Returns:
        Masks of (N, N); an anchor may have no positive.
    """
    positive = labels[None, :] == partner[:, None]
    return Pairs(positive, ~positive & (labels[None, :] != labels[:, None]))
