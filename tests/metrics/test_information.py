from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.metrics.information import mutual_information


def slow(a: list[float], b: list[float], bins: int) -> float:
    u, v = ([min(int(x * bins), bins - 1) for x in values] for values in (a, b))
    total = 0.0
    for i in range(bins):
        for j in range(bins):
            both = sum(x == i and y == j for x, y in zip(u, v, strict=True)) / len(u)
            if both:
                total += both * math.log(both / (u.count(i) / len(u) * v.count(j) / len(v)))
    return total


def test_it_is_the_slow_sum():
    values = torch.rand(4, 50, generator=generator(0))
    values[1] = 0.5 * values[0] + 0.5 * values[1]
    found = mutual_information(values[0], values[1:], bins=5)
    expected = [slow(values[0].tolist(), other.tolist(), 5) for other in values[1:]]
    assert found.tolist() == pytest.approx(expected) and found[0] > found[1]


def test_hand_values():
    half = torch.tensor([0.0, 0.0, 1.0, 1.0])
    others = torch.stack([half, 1 - half, torch.zeros(4), torch.tensor([0.0, 1.0, 0.0, 1.0])])
    found = mutual_information(half, others, bins=2)
    assert found.tolist() == pytest.approx([math.log(2), math.log(2), 0.0, 0.0])


def test_order_of_values_does_not_count_but_places_do():
    a = torch.rand(200, generator=generator(1))
    whole = mutual_information(a, torch.stack([a, 1 - a, a.roll(1)]), bins=8)
    assert whole[0] == pytest.approx(whole[1].item(), abs=0.05) and whole[2] < 0.5 * whole[0]


@pytest.mark.parametrize(
    ("one", "others", "bins"),
    [(torch.zeros(3), torch.zeros(1, 4), 8), (torch.full((3,), 2.0), torch.zeros(1, 3), 8),
     (torch.zeros(3), torch.zeros(1, 3), 1)],
)  # fmt: skip
def test_what_does_not_fit_is_refused(one, others, bins):
    with pytest.raises(InputError, match="mutual_information: expected"):
        mutual_information(one, others, bins)
