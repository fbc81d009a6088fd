"""Perceptrons: projectors and predictors."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import nn

from counterpoint.core.errors import InputError


def mlp(
    in_dim: int,
    hidden: int,
    out_dim: int,
    layers: int = 2,
    norm: bool = True,
    last_norm: bool = False,
    last_affine: bool = True,
    last_bias: bool = True,
    activation: Literal["relu", "gelu"] = "relu",
) -> nn.Sequential:
    """A perceptron (B, in_dim) → (B, out_dim).

    A linear layer has a bias unless a batch normalization follows, which would take it off again.

    Args:
        in_dim: Width of the features that come in.
        hidden: Width of the layers between.
        out_dim: Width of the embedding.
        layers: How many linear layers; 1 is a linear map, and ``hidden`` is then not used.
        norm: Batch normalization after each layer but the last.
        last_norm: Batch normalization after the last layer.
        last_affine: Whether that normalization has a scale and a shift to learn.
        last_bias: Whether a last layer without normalization has a bias.
        activation: What stands between the layers.

    Raises:
        InputError: a width or ``layers`` is less than 1.
    """
    if min(in_dim, hidden, out_dim, layers) < 1:
        raise InputError(
            f"mlp: expected positive widths and layers, found {in_dim}, {hidden}, {out_dim}, {layers}"
        )
    head = nn.Sequential()
    widths = [in_dim, *[hidden] * (layers - 1)]
    for before, after in pairwise(widths):
        head.append(nn.Linear(before, after, bias=not norm))
        if norm:
            head.append(nn.BatchNorm1d(after))
        head.append(nn.ReLU(inplace=True) if activation == "relu" else nn.GELU())
    head.append(nn.Linear(widths[-1], out_dim, bias=last_bias and not last_norm))
    if last_norm:
        head.append(nn.BatchNorm1d(out_dim, affine=last_affine))
    return head
