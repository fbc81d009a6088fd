"""Pairs by a number: targets such as ages or sizes say how far apart two samples are, and what lies between.

Targets are (N,), integers or not; nothing here has a gradient but ``mixture_logits``, whose anchors have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from counterpoint.core.types import Pairs

Law = Literal["linear", "squared", "none"]


@dataclass(frozen=True, slots=True)
class Mixtures:
    """For every anchor columns of its own, ``share · row one + (1 − share) · row other``."""

    one: Tensor
    """(N, S) int64 rows."""
    other: Tensor
    """(N, S) int64 rows."""
    share: Tensor
    """(N, S) in [0, 1], of ``one``."""
    target: Tensor
    """(N, S) the targets, mixed alike."""
    there: Tensor
    """(N, S) bool: the others are fillers and stand in no pair."""


def same_target(target: Tensor, tolerance: float = 0.0) -> Pairs:
    """Targets no farther apart than ``tolerance`` are positives, all others negatives.

    Of continuous targets no two are equal: without a tolerance only a sample's other views are positives.

    Returns:
        Masks of (N, N); the diagonal is in neither.
    """
    positive = _apart(target, target) <= tolerance
    itself = torch.eye(len(target), dtype=torch.bool, device=target.device)
    return Pairs(positive & ~itself, ~positive)


def magnified(anchors: Tensor, targets: Tensor, law: Law = "linear") -> Tensor:
    """Weights ``1 + |y_i − y_a|`` of negatives, or ``1 + |y_i − y_a|²``, or 1: who is farther repels more.

    Wu et al. 2023 (SupReMix), arXiv:2309.16633. They depend on the unit of the targets.

    Args:
        anchors: (N,).
        targets: (M,), or (N, M) of each anchor's own columns.
        law: "linear", "squared" or "none".

    Returns:
        (N, M) ≥ 1, float32 at least.
    """
    far = _apart(anchors, targets)
    return {"linear": 1 + far, "squared": 1 + far.square(), "none": torch.ones_like(far)}[law]


def mixed_with_own(target: Tensor, share: Tensor, tolerance: float = 0.0) -> Mixtures:
    """Negatives with something of the anchor: ``a_ik`` of anchor i itself, the rest of every negative k.

    "Anchor-inclusive" mixtures of SupReMix, arXiv:2309.16633; the more of the anchor the harder.

    Args:
        target: (N,).
        share: (N, N) in [0, 1]: a_ik, in the paper of Beta(2, 8).
        tolerance: As in ``same_target``.
    """
    count = len(target)
    itself = torch.arange(count, device=target.device)[:, None].expand(count, count)
    y = _wide(target)
    mean = share * y[:, None] + (1 - share) * y
    return Mixtures(itself, itself.T, share, mean, same_target(target, tolerance).negative)


def mixed_across(target: Tensor, window: float, count: int, rng: torch.Generator) -> Mixtures:
    """Positives made of others: a smaller and a larger target that mix to just the anchor's own.

    "Anchor-exclusive" mixtures of SupReMix, arXiv:2309.16633: ``y_j < y_i < y_k``, both nearer to y_i than
    ``window``, with ``a = (y_k − y_i) / (y_k − y_j)`` of j. Pairs (j, k) are drawn, evenly and with
    repetition: all of them would be N³. An anchor of extreme target has none.

    Args:
        target: (N,).
        window: In units of the targets, > 0.
        count: Most mixtures of an anchor; it has no more than there are pairs.
        rng: Draws, on the CPU.

    Returns:
        (N, count) columns.
    """
    y = _wide(target)
    ahead = y[None, :] - y[:, None]
    near = ahead.abs() < window
    below, under = _drawn(near & (ahead < 0), count, rng)
    above, over = _drawn(near & (ahead > 0), count, rng)
    low, high, own = y[below], y[above], y[:, None]
    there = torch.arange(count, device=y.device) < (under * over)[:, None]
    share = torch.where(there, (high - own) / torch.where(there, high - low, 1), 0.5)
    return Mixtures(below, above, share, share * low + (1 - share) * high, there)


def mixture_logits(z: Tensor, mixtures: Mixtures, temperature: float, *, renorm: bool = False) -> Tensor:
    """``⟨z_i, m⟩ / τ`` of anchors and their mixtures, which are constants: (N, D) → (N, S).

    The mixtures themselves are never made: products of rows say it all.

    Args:
        z: (N, D) unit vectors.
        mixtures: Of these rows.
        temperature: τ > 0.
        renorm: Bring mixtures to unit length. Unlike rows mix to short vectors, whose logits are small; the
            paper leaves them so.
    """
    z = _wide(z)
    with torch.autocast(z.device.type, enabled=False):
        products = z @ z.detach().T
    a, b = mixtures.share, 1 - mixtures.share
    dots = a * products.gather(1, mixtures.one) + b * products.gather(1, mixtures.other)
    if renorm:
        fixed = products.detach()
        own = fixed.diagonal()
        cross = fixed[mixtures.one, mixtures.other]
        squared = a.square() * own[mixtures.one] + b.square() * own[mixtures.other] + 2 * a * b * cross
        dots = dots / squared.clamp(min=1e-12).sqrt()
    return dots / temperature


def _drawn(mask: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N, count) columns of the mask at random, with repetition, and how many each row has (N,)."""
    known = mask.sum(1)
    first = mask.byte().argsort(dim=1, descending=True, stable=True)  # those of the mask stand in front
    place = (torch.rand(len(mask), count, generator=rng).to(mask.device) * known[:, None]).long()
    return first.gather(1, place.minimum((known[:, None] - 1).clamp(min=0))), known


def _apart(anchors: Tensor, targets: Tensor) -> Tensor:
    """(N, M) distances."""
    return (_wide(anchors)[:, None] - _wide(targets)).abs()


def _wide(x: Tensor) -> Tensor:
    """Float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
