from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.rng import generator
from counterpoint.core.types import Pairs
from counterpoint.objectives.placewise import place_contrast, place_cosines, place_regression


def made(count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = generator(2)
    a, b = (torch.randn(count, n, 5, generator=rng, dtype=torch.float64) for n in (4, 6))
    return a, b, torch.rand(count, 4, 6, generator=rng) < 0.3


def test_regression_is_the_slow_mean_over_the_pairs_of_each_sample():
    a, b, near = made()
    near[1] = False
    means = []
    for n in range(3):
        cosines = [
            float(a[n, i] @ b[n, j] / (a[n, i].norm() * b[n, j].norm()))
            for i, j in near[n].nonzero().tolist()
        ]
        means.append(sum(cosines) / len(cosines) if cosines else 0.0)  # nothing shared: 0, and it counts
    assert place_regression(a, b, near).item() == pytest.approx(-sum(means) / 3)


def test_it_is_not_divided_by_all_pairs_of_cells():
    a = made()[0]
    near = torch.zeros(3, 4, 6, dtype=torch.bool)
    near[:, 0, 0] = True
    assert place_regression(a, a[:, :1].expand(-1, 6, -1), near).item() == pytest.approx(-1)


def test_contrast_is_the_slow_sum_over_places_with_a_positive():
    a, b, near = made()
    near[2] = False
    losses = []
    for n in range(3):
        for i in range(4):
            e = [
                math.exp(float(a[n, i] @ b[n, j] / (a[n, i].norm() * b[n, j].norm())) / 0.3) for j in range(6)
            ]
            good = sum(v for v, p in zip(e, near[n, i].tolist(), strict=True) if p)
            losses += [-math.log(good / sum(e))] if good else []
    assert place_contrast(a, b, Pairs(near, ~near)).item() == pytest.approx(sum(losses) / len(losses))


@pytest.mark.parametrize("what", ["regression", "contrast"])
def test_views_that_share_nothing_cost_nothing_and_are_finite(what):
    a, b, near = made()
    a.requires_grad_()
    none = torch.zeros_like(near)
    loss = place_regression(a, b, none) if what == "regression" else place_contrast(a, b, Pairs(none, ~none))
    (grad,) = torch.autograd.grad(loss, a)
    assert loss.item() == 0 and not grad.any()


def test_gradients():
    a, b, near = made(2)
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: place_regression(x, b, near), (a,))
    assert torch.autograd.gradcheck(lambda x: place_contrast(x, b, Pairs(near, ~near)), (a,))


def test_lengths_do_not_matter_and_half_precision_is_summed_in_single():
    a, b, near = made()
    torch.testing.assert_close(place_regression(3 * a, 0.1 * b, near), place_regression(a, b, near))
    assert place_cosines(a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_masks_that_do_not_fit_are_refused():
    a, b, near = made()
    with pytest.raises(ValueError, match=r"pairs: expected masks of \(3, 4, 6\), found \(3, 6, 4\)"):
        place_regression(a, b, near.mT)
