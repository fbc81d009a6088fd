from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.core.rng import generator
from counterpoint.objectives.matching import row_distance


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


SHAPES = ((3, 4), (3,), (2, 3, 2, 2), (1, 5))
ONE, OTHER = ([normal(seed + i, *shape) for i, shape in enumerate(SHAPES)] for seed in (0, 50))


def slow(one: list[Tensor], other: list[Tensor]) -> float:
    total = 0.0
    for g, h in zip(one, other, strict=True):
        if g.ndim == 1:
            continue
        for a, b in zip(g, h, strict=True):
            u, v = a.flatten().tolist(), b.flatten().tolist()
            dot = sum(x * y for x, y in zip(u, v, strict=True))
            total += 1 - dot / (math.hypot(*u) * math.hypot(*v) + 1e-6)
    return total


def test_it_is_the_slow_sum_over_rows_of_weights():
    assert row_distance(ONE, OTHER).item() == pytest.approx(slow(ONE, OTHER))


def test_hand_values():
    g = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    h = torch.tensor([[0.0, 5.0], [0.0, 7.0], [-1.0, -1.0]])
    assert row_distance([g], [h]).item() == pytest.approx(1 + 0 + 2, abs=1e-5)


def test_lengths_of_rows_and_all_biases_do_not_count():
    scaled = [g * torch.arange(1.0, len(g) + 1).view(-1, *[1] * (g.ndim - 1)) for g in ONE]
    other = [h if h.ndim > 1 else 0 * h for h in OTHER]
    assert row_distance(scaled, other).item() == pytest.approx(row_distance(ONE, OTHER).item(), abs=1e-5)
    assert row_distance(ONE, ONE).item() == pytest.approx(0, abs=1e-5)


def test_gradients():
    one = [g.clone().requires_grad_() for g in ONE if g.ndim > 1]
    other = [h.clone().requires_grad_() for h in OTHER if h.ndim > 1]
    assert torch.autograd.gradcheck(lambda *x: row_distance(x[:3], x[3:]), (*one, *other))


def test_gradients_of_other_weights_are_refused():
    with pytest.raises(ValueError, match="same weights"):
        row_distance(ONE, OTHER[:2])
