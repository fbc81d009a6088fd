"""A step ahead: what a network would give after a gradient step that is not made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def stepped(loss: Tensor, network: nn.Module, length: float) -> dict[str, Tensor]:
    """The weights ``w − length · ∂loss/∂w`` of a network, by name, which itself stays as it is.

    They have a graph: what is computed with them has a derivative by all that ``loss`` depends on, of second
    order (Finn et al. 2017, MAML, arXiv:1703.03400, eq. 1). Without it nobody could learn through the step.

    Args:
        loss: A scalar with a graph, which stays. All weights must have had a part in it.
        network: Whose weights.
        length: Of the step, ≥ 0.
    """
    weights = dict(network.named_parameters())
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {name: w - length * slope for (name, w), slope in zip(weights.items(), slopes, strict=True)}


def run_with(weights: Mapping[str, Tensor], network: nn.Module, *args: Any) -> Any:
    """What a network gives with other weights; its own, and its running statistics, do not change."""
    still = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return functional_call(network, {**weights, **still}, args)
