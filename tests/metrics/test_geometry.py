from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.geometry import alignment, alive, effective_rank, rankme, spectrum, uniformity


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_spectrum_is_that_of_the_covariance():
    z = normal(50, 4).double() @ torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.0], dtype=torch.float64)) + 7
    eigenvalues = torch.linalg.eigvalsh(torch.cov(z.T, correction=0)).flip(0)
    torch.testing.assert_close(spectrum(z)[:3], (50 * eigenvalues[:3]).sqrt())
    assert spectrum(z)[3] == 0  # rounding alone
    assert spectrum(z, center=False)[0] > spectrum(z)[0]


def test_ranks_by_hand():
    square = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert effective_rank(square) == pytest.approx(2)
    assert rankme(square) == pytest.approx(2)
    line = torch.tensor([[3.0, 0], [-3, 0]])
    assert effective_rank(line) == pytest.approx(1)
    # singular values 3 and 1, of which p = 3/4 and 1/4
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert rankme(torch.tensor([[3.0, 0], [0, 1]])) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_collapse_is_seen(dtype):
    point = torch.tensor([[0.3, -1.7, 5.1]], dtype=dtype).expand(20, 3)
    assert effective_rank(point) == 0 and rankme(point) == pytest.approx(1)
    assert alive(point) == 0 and uniformity(point) == pytest.approx(0)
    assert rankme(torch.zeros(4, 3)) == 0
    noisy = point * (1 + 1e-7 * torch.randn(20, 3, dtype=dtype, generator=torch.Generator().manual_seed(0)))
    assert alive(noisy) == 0


def test_alive_counts_dimensions():
    z = normal(100, 4) * torch.tensor([1.0, 0.5, 1e-4, 0.0])
    assert alive(z) == 0.5


def test_alignment_and_uniformity_equal_slow_loops(monkeypatch):
    x, y = normal(7, 3).double(), normal(9, 3).double()[:7] + 1
    a, b = (v / v.norm(dim=1, keepdim=True) for v in (x, y))
    slow = sum(float((a[i] - b[i]).norm()) ** 3 for i in range(7)) / 7
    assert alignment(x, y, power=3) == pytest.approx(slow)
    pairs = [math.exp(-1.5 * float((a[i] - a[j]).norm()) ** 2) for i in range(7) for j in range(7) if i != j]
    assert uniformity(x, sharpness=1.5) == pytest.approx(math.log(sum(pairs) / len(pairs)))
    monkeypatch.setattr("counterpoint.metrics.geometry.BLOCK", 16)  # two rows at a time
    assert uniformity(x, sharpness=1.5) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_length_does_not_count_on_the_sphere():
    x = normal(6, 3)
    assert alignment(x, 5 * x) == pytest.approx(0, abs=1e-12)
    assert uniformity(x) == pytest.approx(uniformity(100 * x), abs=1e-6)


@pytest.mark.parametrize("z", [torch.ones(3), torch.ones(0, 3), torch.tensor([[float("nan"), 1]])])
def test_what_is_no_table_of_numbers_is_refused(z):
    for measure in (effective_rank, rankme, alive, uniformity):
        with pytest.raises(InputError):
            measure(z)


def test_one_row_has_no_pair_and_two_views_have_one_shape():
    with pytest.raises(InputError, match="two rows"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(InputError, match="one shape"):
        alignment(torch.ones(2, 3), torch.ones(3, 3))
