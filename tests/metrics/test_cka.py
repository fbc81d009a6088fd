from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.cka import linear_cka


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(x: torch.Tensor, y: torch.Tensor, debiased: bool) -> float:
    """From the N × N kernels, entry by entry."""
    n, k, other = len(x), x @ x.T, y @ y.T

    def plain(a, b) -> float:
        h = torch.eye(n, dtype=torch.float64) - 1 / n
        return float(torch.trace(h @ a @ h @ b))

    def unbiased(a, b) -> float:
        """U-centering of Székely and Rizzo: the mean product of what is left off the diagonal."""
        centered = []
        for m in (a.clone().fill_diagonal_(0), b.clone().fill_diagonal_(0)):
            c = m - m.sum(0) / (n - 2) - m.sum(1, keepdim=True) / (n - 2) + m.sum() / ((n - 1) * (n - 2))
            centered.append(c.fill_diagonal_(0))
        return float((centered[0] * centered[1]).sum() / (n * (n - 3)))

    hsic = unbiased if debiased else plain
    return hsic(k, other) / math.sqrt(hsic(k, k) * hsic(other, other))


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("widths", [(3, 5), (40, 2), (30, 30)])  # fewer and more dimensions than samples
def test_equals_the_kernels(widths, debiased):
    x = normal(12, widths[0]) + 3
    y = normal(12, widths[1], seed=1) + torch.cat([x, x], 1)[:, : widths[1]] - 5
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(slow(x, y, debiased), abs=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
def test_blind_to_rotation_scale_and_shift(debiased):
    x, turn = normal(20, 6), torch.linalg.qr(normal(6, 6, seed=2))[0]
    assert linear_cka(x, 7 * x @ turn - 4, debiased=debiased) == pytest.approx(1)
    assert linear_cka(x, x * torch.linspace(0.1, 9, 6), debiased=debiased) < 0.95


def test_only_the_debiased_one_knows_that_unrelated_ones_are_unrelated():
    pairs = [(normal(20, 100, seed=2 * i), normal(20, 100, seed=2 * i + 1)) for i in range(30)]
    assert sum(linear_cka(x, y) for x, y in pairs) / 30 > 0.7
    assert abs(sum(linear_cka(x, y, debiased=True) for x, y in pairs) / 30) < 0.02


def test_by_hand():
    x = torch.tensor([[1.0], [-1], [0], [0]])
    y = torch.tensor([[1.0], [-1], [1], [-1]])
    assert linear_cka(x, y) == pytest.approx(0.5)  # the squared correlation
    assert math.isnan(linear_cka(x, torch.ones(4, 3)))


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (torch.ones(4, 2), torch.ones(5, 2), r"found \(4, 2\) and \(5, 2\)"),
        (torch.ones(4), torch.ones(4), "expected"),
        (torch.ones(3, 2), torch.ones(3, 2), "at least 4 samples, found 3"),
        (torch.full((4, 2), math.inf), torch.ones(4, 2), "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(x, y, words):
    with pytest.raises(InputError, match=words):
        linear_cka(x, y, debiased=True)
