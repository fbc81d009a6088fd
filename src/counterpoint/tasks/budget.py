"""Label budgets: which few samples of a data set may be used with their labels."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator

_BUDGET = re.compile(r"(?P<percent>\d+(\.\d+)?) ?%|(?P<each>\d+) ?(/|per) ?class")


def chosen(label: Tensor, budget: str, seed: int) -> Tensor:
    """Indices of the samples whose labels are known, stratified, sorted: (n,) int64.

    Args:
        label: (N,) whole numbers.
        budget: "all"; "1%": of every class that share, rounded, and at least one; "5/class": so many of each.
        seed: Draws which; smaller budgets of one kind are part of larger ones.

    Raises:
        InputError: a budget that is none of these, or a class with fewer samples than asked for.
    """
    if budget == "all":
        return torch.arange(len(label))
    match = _BUDGET.fullmatch(budget.strip())
    share = float(match["percent"] or 0) / 100 if match else 0.0
    each = int(match["each"] or 0) if match else 0
    if not each and not 0 < share <= 1:
        raise InputError(
            f"labels: expected all, a share such as 1% or a count such as 5/class, found {budget!r}"
        )
    rows = []
    for c in label.unique().tolist():
        of = (label == c).nonzero().flatten()
        count = each or max(1, round(share * len(of)))
        if count > len(of):
            raise InputError(f"labels: expected {count} samples of class {c}, found {len(of)}")
        rows.append(of[torch.randperm(len(of), generator=generator(seed, "labels", c))[:count]])
    return torch.cat(rows).sort().values


def held_out(label: Tensor, seed: int, share: float = 0.2) -> tuple[Tensor, Tensor]:
    """Split (N,) labels into indices to fit on and to choose settings on, stratified: (n,), (N − n,) int64.

    A class gives ``share`` of its samples, rounded, one at least and one kept at least; a class of one sample
    gives none, so that nothing is held out where every class has but one.
    """
    aside = []
    for c in label.unique().tolist():
        of = (label == c).nonzero().flatten()
        count = min(max(1, round(share * len(of))), len(of) - 1)
        aside.append(of[torch.randperm(len(of), generator=generator(seed, "held out", c))[:count]])
    held = torch.zeros(len(label), dtype=torch.bool)
    held[torch.cat(aside)] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
