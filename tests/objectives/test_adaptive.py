from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.objectives.adaptive import pair_temperatures, price, price_of_pairs
from counterpoint.objectives.contrastive import align
from counterpoint.pairs.ids import same_sample


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_temperatures_are_the_slow_double_loop():
    codes = drawn(4, 3)
    slow = [
        [0.1 + 1.4 / (1 + math.exp(-sum(x * y for x, y in zip(a, b, strict=True)))) for b in codes.tolist()]
        for a in codes.tolist()
    ]
    torch.testing.assert_close(pair_temperatures(codes, 0.1, 1.5), torch.tensor(slow, dtype=torch.float64))


def test_temperatures_stay_within_their_bounds():
    """Without an upper one, hard positives would be forgiven everything: s/τ goes to 0."""
    found = pair_temperatures(100 * drawn(6, 3), 0.05, 2.0)
    assert found.min().item() == pytest.approx(0.05) and found.max().item() == pytest.approx(2.0)
    assert torch.equal(found, found.T)
    for low, high in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="expected 0 < low ≤ high"):
            pair_temperatures(drawn(2, 2), low, high)


def test_the_price_is_least_at_two_by_d_and_high_at_both_ends():
    tau = torch.tensor([1e-3, 0.25, 1e3], dtype=torch.float64)
    assert price(tau, 8).tolist() == pytest.approx([4 * math.log(t) + 1 / t for t in tau.tolist()])
    low, least, high = price(tau, 8)
    assert least < low and least < high
    free = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    price(free, 8).backward()
    assert free.grad is not None and abs(free.grad.item()) < 1e-12


def test_positives_pay_and_the_hardest_negative_is_paid():
    pairs = same_sample(torch.tensor([0, 1, 0, 1]))
    temperature = 0.1 + drawn(4, 4).square()
    hardest = torch.zeros(4, 4, dtype=torch.bool)
    hardest[torch.arange(4), [1, 2, 3, 0]] = True
    slow = []
    for i, (p, n) in enumerate(((2, 1), (3, 2), (0, 3), (1, 0))):
        slow.append(price(temperature[i, p], 6) - price(temperature[i, n], 6))
    found = price_of_pairs(temperature, pairs.positive, hardest, 6)
    assert found.item() == pytest.approx(torch.stack(slow).mean().item(), rel=1e-12)


def test_without_a_price_hard_positives_are_forgiven():
    """The loss of a positive far away falls as its temperature rises; the price turns that around."""
    temperature = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    positive, none = torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.bool)
    pull = align(-0.5 / temperature, positive).sum()
    (free,) = torch.autograd.grad(pull, temperature, retain_graph=True)
    (paid,) = torch.autograd.grad(pull + price_of_pairs(temperature, positive, none, 5), temperature)
    assert free < 0 < paid


def test_gradients():
    pairs, codes = same_sample(torch.tensor([0, 1, 0, 1])), drawn(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: price_of_pairs(pair_temperatures(x, 0.1), pairs.positive, pairs.negative, 3), (codes,)
    )
