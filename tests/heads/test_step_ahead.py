from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.rng import generator
from counterpoint.heads.ahead import run_with, stepped
from counterpoint.heads.each import Each


def line() -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    layer.weight = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
    return layer


def test_by_hand_through_the_second_derivative():
    """Inner loss a·w²/2: w' = w − l·a·w; outer w'²: its derivative by a is 2 w' · (−l·w)."""
    layer, a = line(), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    moved = stepped(a * layer.weight.square().sum() / 2, layer, 0.1)
    assert moved["weight"].item() == pytest.approx(2 - 0.1 * 3 * 2) and layer.weight.item() == 2
    out = run_with(moved, layer, torch.ones(1, 1, dtype=torch.float64))
    out.square().sum().backward()
    assert a.grad is not None and a.grad.item() == pytest.approx(2 * 1.4 * (-0.1 * 2))


def test_weights_and_running_statistics_stay():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    x = torch.randn(6, 3, generator=generator(0))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    moved = {name: w + 1 for name, w in network.named_parameters()}
    out = run_with(moved, network, x)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not torch.allclose(out, network(x))


def test_each_network_sees_its_own_input():
    networks = Each([nn.Linear(3, 2), nn.Linear(4, 2)])
    x = [torch.randn(5, 3), torch.randn(5, 4)]
    out = networks(x)
    assert out.shape == (2, 5, 2) and torch.equal(out[1], networks[1](x[1]))
    with pytest.raises(ValueError, match="zip"):
        networks(x[:1])
