from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.heads.mlp import mlp


def spelled(head: nn.Sequential) -> list[str]:
    """Each layer in short: "3>4b" is a linear layer with a bias, "n4" a plain normalization."""

    def word(m: nn.Module) -> str:
        if isinstance(m, nn.Linear):
            return f"{m.in_features}>{m.out_features}" + ("b" if m.bias is not None else "")
        if isinstance(m, nn.BatchNorm1d):
            return f"{'N' if m.affine else 'n'}{m.num_features}"
        return type(m).__name__.lower()

    return [word(m) for m in head]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ["3>4", "N4", "relu", "4>2b"]),
        ({"layers": 1}, ["3>2b"]),
        ({"norm": False}, ["3>4b", "relu", "4>2b"]),  # MoCo v2
        ({"last_bias": False}, ["3>4", "N4", "relu", "4>2"]),  # BYOL
        ({"last_norm": True}, ["3>4", "N4", "relu", "4>2", "N2"]),  # SimCLR
        (
            {"layers": 3, "last_norm": True, "last_affine": False},  # SimSiam
            ["3>4", "N4", "relu", "4>4", "N4", "relu", "4>2", "n2"],
        ),
        (
            {"layers": 3, "norm": False, "activation": "gelu"},  # DINO
            ["3>4b", "gelu", "4>4b", "gelu", "4>2b"],
        ),
    ],
)
def test_layers_are_those_of_the_papers(settings, expected):
    head = mlp(3, 4, 2, **settings)
    assert spelled(head) == expected
    assert head(torch.rand(5, 3)).shape == (5, 2)


def test_no_weight_is_without_effect():
    head = mlp(3, 4, 2, layers=3, last_norm=True)
    (head(torch.rand(8, 3)) * torch.rand(8, 2)).sum().backward()
    assert all(p.grad.abs().max() > 1e-6 for p in head.parameters())


def test_nonsense_is_refused():
    for widths in ((0, 4, 2), (3, 0, 2), (3, 4, 0)):
        with pytest.raises(InputError, match="mlp: expected positive widths"):
            mlp(*widths)
    with pytest.raises(InputError, match="found 3, 4, 2, 0"):
        mlp(3, 4, 2, layers=0)
