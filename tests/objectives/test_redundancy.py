from __future__ import annotations

import math
import statistics

import pytest
import torch

from counterpoint.objectives.redundancy import (
    barlow,
    covariance,
    cross_correlation,
    invariance,
    variance,
    vicreg,
)

N, D = 6, 3


def rows(seed: int, n: int = N, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def columns(x: torch.Tensor) -> list[list[float]]:
    return x.T.tolist()


def test_barlow_is_its_formula():
    a, b, lam = rows(1) * 3 + 1, rows(2) - 2, 0.02

    def standardized(column):
        m, v = statistics.fmean(column), statistics.pvariance(column)
        return [(x - m) / math.sqrt(v + 1e-5) for x in column]

    one, two = ([standardized(c) for c in columns(x)] for x in (a, b))
    c = [[sum(x * y for x, y in zip(p, q, strict=True)) / N for q in two] for p in one]
    slow = sum((1 - c[i][j]) ** 2 if i == j else lam * c[i][j] ** 2 for i in range(D) for j in range(D))
    torch.testing.assert_close(cross_correlation(a, b), torch.tensor(c, dtype=torch.float64))
    assert barlow(a, b, lam).item() == pytest.approx(slow, rel=1e-10)


def test_identical_whitened_views_lose_nothing_to_barlow():
    white = torch.linalg.qr(rows(1, 16, 4) - rows(1, 16, 4).mean(0)).Q * 100
    white = white - white.mean(0)
    assert barlow(white, white).item() == pytest.approx(0, abs=1e-5)
    assert barlow(white, -white).item() == pytest.approx(4 * 4, rel=1e-4)


def test_vicreg_is_its_formula():
    a, b = rows(1) * 0.5, rows(2) * 0.4

    def v(x):
        return statistics.fmean(max(0, 1 - math.sqrt(statistics.variance(c) + 1e-4)) for c in columns(x))

    def cov(p, q):
        return sum(
            (x - statistics.fmean(p)) * (y - statistics.fmean(q)) for x, y in zip(p, q, strict=True)
        ) / (N - 1)

    def c(x):
        every = columns(x)
        return sum(cov(every[i], every[j]) ** 2 for i in range(D) for j in range(D) if i != j) / D

    s = statistics.fmean(
        (x - y) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True) for x, y in zip(p, q, strict=True)
    )
    found = vicreg(a, b)
    assert found["invariance"].item() == pytest.approx(s, rel=1e-12) == invariance(a, b).item()
    assert found["variance"].item() == pytest.approx((v(a) + v(b)) / 2, rel=1e-12)
    assert found["covariance"].item() == pytest.approx(c(a) + c(b), rel=1e-12)
    assert v(a) > 0 and v(b) > 0  # the hinge is open in both


def test_white_noise_has_neither_too_little_variance_nor_covariance():
    z = rows(3, 4000, 4)
    assert variance(z).item() < 0.02 and covariance(z).item() < 0.01
    assert variance(3 * z).item() == 0


def test_what_does_not_vary_is_named_by_variance_and_hidden_by_the_others():
    z = torch.ones(5, 3, requires_grad=True)
    loss = variance(z)
    assert loss.item() == pytest.approx(1 - 1e-2) and covariance(z).item() == 0
    assert barlow(z, z).item() == pytest.approx(3)  # no correlation to be seen


@pytest.mark.parametrize("one", [torch.ones(1, 3), torch.full((1, 3), 7.0)])
def test_one_sample_is_finite(one):
    for loss in (barlow(one, one), *vicreg(one, one).values()):
        assert loss.isfinite()


def test_shapes_are_checked():
    for objective in (barlow, vicreg, invariance):
        with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
            objective(torch.ones(2, 3), torch.ones(2, 4))
