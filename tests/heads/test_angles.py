from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from counterpoint.core.rng import generator
from counterpoint.encoders.unet import UNet
from counterpoint.heads.angles import settle


class Directions(nn.Module):
    """Double-angle gradients, turned by a constant of each pair."""

    def __init__(self, *offset: float) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 2 * len(offset), 1, bias=False)
        rows = [
            row
            for a in offset
            for row in ([math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)])
        ]  # fmt: skip
        self.head.weight.data = torch.tensor(rows)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        gy, gx = torch.gradient(x, dim=(2, 3))
        return self.head(torch.cat((gx.square() - gy.square(), 2 * gx * gy), 1))


def test_the_constant_is_found_and_taken_off():
    x = torch.rand(4, 1, 24, 24, generator=generator(0, "x"))
    network = Directions(0.7, -1.1)
    assert settle(network, x).tolist() == pytest.approx([0.35, -0.55], abs=0.02)
    true = Directions(0.0, 0.0)(x)
    assert (network(x) - true).abs().mean() < 0.05 * true.abs().mean()
    assert settle(network, x).abs().max() < 1e-3


def test_a_network_stays_as_it_is_but_for_its_angles():
    torch.manual_seed(0)
    network = UNet.Config(widths=(4, 6), out=4).build()
    x = torch.rand(3, 1, 16, 16, generator=generator(0, "x"))
    before = network.eval()(x)
    settle(network.train(), x)
    assert network.training
    after = network.eval()(x)
    strength = [m[:, 0::2].square() + m[:, 1::2].square() for m in (before, after)]
    assert torch.allclose(*strength, rtol=1e-3, atol=1e-6) and not torch.allclose(before, after)
