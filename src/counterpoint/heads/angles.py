"""Maps of directions: where their angles count from is free in every loss, and settled afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def settle(network: nn.Module, images: Tensor) -> Tensor:
    """Turn the directions of a network's maps, so that mirrored images have mirrored maps.

    Maps are pairs of channels (m cos 2φ, m sin 2φ). A loss that compares maps with each other does not
    change when a constant is added to all φ, so training ends at any; but a mirrored direction is -φ, which
    holds for one zero only. The last convolution, in which the result is linear, takes the constant off.

    Args:
        network: (B, C, H, W) → (B, 2K, H, W); its last convolution is changed.
        images: (B, C, H, W), any; the more structure the better.

    Returns:
        (K,) radians that were taken off the φ of each pair.
    """
    training = network.training
    network.eval()
    ahead, mirrored = (_complex(x) for x in (network(images), network(images.flip(-1)).flip(-1)))
    network.train(training)
    # e^{iα}F beside e^{iα}F*: their product has the angle 2α.
    alpha = (ahead * mirrored).sum((0, 2, 3)).angle() / 2
    head = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][-1]
    turn = torch.polar(torch.ones_like(alpha), -alpha)
    for values in (head.weight, head.bias):
        if values is not None:
            pairs = torch.complex(values[0::2], values[1::2])
            pairs = pairs * turn.view(-1, *[1] * (values.ndim - 1))
            values[0::2], values[1::2] = pairs.real, pairs.imag
    return alpha / 2


def _complex(maps: Tensor) -> Tensor:
    """(B, K, H, W): pairs of channels as complex numbers, without their mean."""
    z = torch.complex(maps[:, 0::2].float(), maps[:, 1::2].float())
    return z - z.mean((0, 2, 3), keepdim=True)
