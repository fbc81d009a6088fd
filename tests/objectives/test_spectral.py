from __future__ import annotations

import pytest
import torch

from counterpoint.objectives.spectral import spectral


def rows(seed: int, count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_the_slow_sum():
    a, b = rows(0), rows(1)
    near = sum(float(a[i] @ b[i]) for i in range(5)) / 5
    far = sum(float(a[i] @ b[j]) ** 2 for i in range(5) for j in range(5) if i != j) / 20
    assert spectral(a, b).item() == pytest.approx(-2 * near + far)
    one = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [-1.0]])
    assert spectral(*one).item() == pytest.approx(-2 * (3 - 2) / 2 + (1 + 36) / 2)


def test_gradients_and_shifts_of_both():
    assert torch.autograd.gradcheck(spectral, (rows(0).requires_grad_(), rows(1).requires_grad_()))
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(spectral(rows(0), rows(1)), spectral(rows(0)[order], rows(1)[order]))
    torch.testing.assert_close(spectral(rows(0), rows(1)), spectral(rows(1), rows(0)))


def test_its_optimum_is_what_views_share():
    """One feature under noise as strong: the weight is 1 / (1 + 1), its square a quarter (Xue et al.)."""
    rng = torch.Generator().manual_seed(0)
    sign = (torch.rand(2000, 1, generator=rng) < 0.5).double() * 2 - 1
    x, y = (sign + torch.randn(2000, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    losses = {w: spectral(w**0.5 * x, w**0.5 * y).item() for w in (0.15, 0.2, 0.25, 0.3, 0.35)}
    assert min(losses, key=losses.__getitem__) == 0.25


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4)), ((2, 3), (3, 3)), ((2,), (2,))])
def test_shapes_are_checked(shapes):
    with pytest.raises(ValueError, match=r"a, b: expected two \(N, D\)"):
        spectral(*(torch.zeros(s) for s in shapes))
