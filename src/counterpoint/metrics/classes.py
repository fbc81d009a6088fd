"""How often predicted classes are right."""

from __future__ import annotations

import torch
from torch import Tensor

from counterpoint.core.errors import InputError


def accuracy(predicted: Tensor, label: Tensor) -> float:
    """Share of right predictions, in [0, 1]; two (N,) tensors of whole numbers, N ≥ 1."""
    return float(_right(predicted, label).mean())


def balanced_accuracy(predicted: Tensor, label: Tensor) -> float:
    """Mean over the classes in ``label`` of the share of their samples predicted right, in [0, 1]."""
    right = _right(predicted, label)
    _, code = label.unique(return_inverse=True)
    total = code.bincount()
    return float((code.bincount(right, minlength=len(total)) / total).mean())


def _right(predicted: Tensor, label: Tensor) -> Tensor:
    if label.ndim != 1 or predicted.shape != label.shape or not len(label):
        found = f"{tuple(predicted.shape)} and {tuple(label.shape)}"
        raise InputError(f"classes: expected two tensors (N,), N ≥ 1, found {found}")
    return (predicted == label).to(torch.float64)
