from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.objectives.correlation import correlated


def slow_score(window: Tensor, cut: Tensor) -> float:
    a = window - window.mean((1, 2), keepdim=True)
    b = cut - cut.mean((1, 2), keepdim=True)
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_correlation_is_the_slow_formula_at_every_shift():
    images, cuts = torch.randn(2, 3, 9, 9, dtype=torch.double), torch.randn(2, 3, 4, 4, dtype=torch.double)
    scores = correlated(images, cuts)
    assert scores.shape == (2, 2, 6, 6)
    for i, j, y, x in [(0, 0, 0, 0), (0, 1, 5, 5), (1, 0, 2, 4), (1, 1, 3, 0)]:
        expected = slow_score(images[i, :, y : y + 4, x : x + 4], cuts[j])
        assert float(scores[i, j, y, x]) == pytest.approx(expected, abs=1e-6)


def test_flat_images_correlate_with_nothing():
    flat = torch.full((1, 2, 8, 8), 3.0)
    scores = correlated(torch.cat([flat, torch.rand(1, 2, 8, 8)]), flat[..., :4, :4])
    assert scores.isfinite().all() and scores.abs().max() < 1e-2


def test_the_gradient_is_that_of_the_formula():
    images, cuts = (torch.randn(1, 2, n, n, dtype=torch.double, requires_grad=True) for n in (5, 3))
    assert torch.autograd.gradcheck(correlated, (images, cuts))
