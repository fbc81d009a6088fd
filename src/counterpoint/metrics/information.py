"""Mutual information of the values of pictures, by a joint histogram."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.errors import InputError


def mutual_information(one: Tensor, others: Tensor, bins: int = 32) -> Tensor:
    """I = Σ p(u, v) log( p(u, v) / (p(u) p(v)) ) in nats, ≥ 0: what one picture says of each other one.

    ``p`` is the share of pixels at which one picture has its value in bin u and the other in bin v. Of itself
    a picture says its entropy; no pair says more than the smaller entropy of the two. Source: Viola and Wells
    1997; the plain estimate, which is too large by about (bins − 1)² / 2P for P pixels.

    Args:
        one: (P,) values in [0, 1].
        others: (N, P) values in [0, 1], pixel by pixel at the same places.
        bins: Equal bins of [0, 1], ≥ 2.

    Returns:
        (N,) float64.

    Raises:
        InputError: unlike numbers of pixels, values out of range, or fewer than two bins.
    """
    if one.ndim != 1 or others.ndim != 2 or others.shape[1] != len(one) or not len(one):
        raise InputError(
            f"mutual_information: expected (P,) and (N, P), found {tuple(one.shape)} and "
            f"{tuple(others.shape)}"
        )
    values = torch.cat([one[None], others])
    if bins < 2 or not 0 <= float(values.amin()) <= float(values.amax()) <= 1:
        raise InputError("mutual_information: expected values in [0, 1] and at least 2 bins, found others")
    place = (values * bins).long().clamp(max=bins - 1)
    cell = place[:1] * bins + place[1:] + bins * bins * torch.arange(len(others), device=one.device)[:, None]
    counts = torch.bincount(cell.flatten(), minlength=len(others) * bins * bins)
    joint = counts.view(len(others), bins, bins).double() / len(one)
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return torch.where(joint > 0, joint * (joint / apart).log(), 0.0).nansum((1, 2)).clamp(min=0)
