from __future__ import annotations

import math

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.metrics.geometry import (
    alignment,
    alive,
    by_position,
    by_sample,
    effective_rank,
    numerical_rank,
    rankme,
    spectrum,
    spread,
    uniformity,
)


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


def test_directions_alive_are_counted_in_any_basis():
    turn = torch.linalg.qr(normal(4, 4).double())[0]
    z = normal(100, 4).double() * torch.tensor([1.0, 0.5, 1e-2, 1e-6]) @ turn
    assert numerical_rank(z) == 3 and numerical_rank(z, share=0.1) == 2 and numerical_rank(z, share=1e-8) == 4
    assert alive(z) == 1  # every coordinate varies
    assert numerical_rank(torch.ones(5, 3)) == 0


def test_spread_by_hand():
    axes = torch.cat([torch.eye(3), -torch.eye(3)])  # in each coordinate 1, -1 and four times 0
    assert spread(7 * axes) == pytest.approx(1)
    assert spread(torch.tensor([[1.0, 2.0]]).expand(9, 2)) == pytest.approx(0, abs=1e-7)
    assert spread(torch.tensor([[1.0, 1.0], [1.0, -1.0]])) == pytest.approx(0.5)  # 0 and 1/√2, times √2, mean
    assert spread(normal(4000, 64)) == pytest.approx(1, abs=0.01)


def test_positions_and_averages_of_maps_and_tokens():
    maps = normal(2, 3, 4, 5)
    slow = torch.stack([maps[b, :, i, j] for b in range(2) for i in range(4) for j in range(5)])
    assert torch.equal(by_position(maps), slow)
    torch.testing.assert_close(by_sample(maps), maps.mean((2, 3)))
    tokens = normal(2, 7, 3)
    assert torch.equal(by_position(tokens), tokens.reshape(14, 3))
    torch.testing.assert_close(by_sample(tokens), tokens.mean(1))
    rows = normal(6, 3)
    assert torch.equal(by_position(rows), rows) and torch.equal(by_sample(rows), rows)
    for measure in (by_position, by_sample):
        with pytest.raises(InputError, match=r"expected \(B, D\), \(B, T, D\) or \(B, D, H, W\)"):
            measure(torch.ones(3))


def test_averaging_hides_a_collapse_along_positions_and_the_other_way_round():
    pattern, samples = normal(1, 4, 6, 6), normal(20, 4, 1, 1)
    by_place = pattern - pattern.mean((2, 3), keepdim=True) + torch.zeros(20, 1, 1, 1)  # all samples alike
    assert (
        effective_rank(by_position(by_place)) > 3
        and numerical_rank(by_sample(by_place).round(decimals=5)) == 0
    )
    flat = samples.expand(-1, -1, 6, 6)  # all positions alike
    assert effective_rank(by_sample(flat)) == pytest.approx(effective_rank(by_position(flat)))
