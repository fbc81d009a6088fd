from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.pairs.kernels import bandwidth, cosine, rbf, smoother


@pytest.fixture
def prior() -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_kernels_are_the_slow_double_loop(prior):
    p = prior.tolist()
    near = [[math.exp(-(math.dist(a, b) ** 2) / (2 * 0.7**2)) for b in p] for a in p]
    torch.testing.assert_close(rbf(prior, 0.7), torch.tensor(near, dtype=torch.float64))
    dots = [
        [sum(map(math.prod, zip(a, b, strict=True))) / math.hypot(*a) / math.hypot(*b) for b in p] for a in p
    ]
    torch.testing.assert_close(cosine(prior), torch.tensor(dots, dtype=torch.float64))


def test_one_number_a_sample_is_one_column():
    ages = torch.tensor([30, 31, 60])
    assert torch.equal(rbf(ages, 2.0), rbf(ages[:, None].float(), 2.0))
    assert rbf(ages, 2.0)[0, 1].item() == pytest.approx(math.exp(-1 / 8))


def test_the_bandwidth_follows_the_scale_of_what_is_known(prior):
    p = prior.tolist()
    far = sorted(math.dist(a, b) for i, a in enumerate(p) for b in p[:i])
    assert bandwidth(prior, 1.5).item() == pytest.approx(1.5 * far[7])  # of 15 pairs
    torch.testing.assert_close(bandwidth(100 * prior), 100 * bandwidth(prior))
    assert bandwidth(torch.zeros(4, 2)) > 0


def test_the_smoother_solves_its_equation_and_is_symmetric(prior):
    kernel = rbf(prior, 1.0)
    found = smoother(kernel, 0.1)
    shifted = kernel + 0.1 * torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(shifted @ found, kernel)
    torch.testing.assert_close(found, found.T)
    by_default = kernel + torch.eye(6, dtype=torch.float64) / math.sqrt(6)
    torch.testing.assert_close(by_default @ smoother(kernel, 0.0), kernel)


def test_its_two_limits(prior):
    """Too narrow a kernel silently is none, too wide a one gives everyone the same mean."""
    torch.testing.assert_close(smoother(rbf(prior, 1e-3), 0.01), torch.eye(6, dtype=torch.float64) / 1.01)
    one = smoother(rbf(prior, 1e6), 0.01)
    torch.testing.assert_close(one, torch.full((6, 6), 1 / 6.01, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert one.trace() < 1.01 and smoother(rbf(prior, 1e-3)).trace() > 5


def test_half_precision_is_solved_in_single(prior):
    found = smoother(rbf(prior.half(), 1.0), 0.01)
    assert found.dtype == torch.float32
    torch.testing.assert_close(
        found.double(), smoother(rbf(prior.half().double(), 1.0), 0.01), rtol=0, atol=1e-3
    )
    assert not smoother(rbf(prior.requires_grad_(), 1.0)).requires_grad


def test_a_negative_ridge_is_refused():
    with pytest.raises(InputError, match="ridge: expected a number ≥ 0, found -1"):
        smoother(torch.eye(2), -1.0)
