from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.uniformity import centers, decoupled_uniformity


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(means: Tensor, t: float) -> float:
    """Each unordered pair once, nobody with himself."""
    potentials = [
        math.exp(-t * sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
        for i, a in enumerate(means.tolist())
        for b in means.tolist()[:i]
    ]
    return math.log(sum(potentials) / len(potentials))


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("t", [0.5, 2.0])
def test_it_is_the_slow_loop(views, t):
    z = drawn(views, 5, 3)
    means = torch.stack([normalize(v, dim=1) for v in z]).mean(0)
    assert torch.allclose(centers(z), means, rtol=1e-14)
    assert decoupled_uniformity(centers(z), t).item() == pytest.approx(slow(means, t), rel=1e-11)


def test_the_smoothed_centers_stand_for_the_centers():
    means, weights = centers(drawn(2, 5, 3)), torch.rand(5, 5, generator=torch.Generator().manual_seed(1))
    estimated = torch.stack(
        [sum(weights[i, j].double() * means[j] for j in range(5)) for i in range(5)]  # pyright: ignore
    )
    found = decoupled_uniformity(means, 2.0, weights)
    assert found.item() == pytest.approx(slow(estimated, 2.0), rel=1e-11)


def test_a_smoother_gets_no_gradient():
    z, weights = drawn(2, 5, 3).requires_grad_(), torch.eye(5, dtype=torch.float64, requires_grad=True)
    decoupled_uniformity(centers(z), 2.0, weights).backward()
    assert z.grad is not None and z.grad.any() and weights.grad is None


def test_centers_keep_their_length_so_that_views_are_made_to_agree():
    """Brought to unit length, two views could disagree at no cost."""
    agree = torch.stack([torch.eye(4, dtype=torch.float64)] * 2)
    tilt = torch.eye(4, dtype=torch.float64).roll(1, 1)
    apart = torch.stack([agree[0] + 0.6 * tilt, agree[0] - 0.6 * tilt])
    assert torch.allclose(normalize(centers(apart), dim=1), centers(agree))
    assert decoupled_uniformity(centers(apart)) > decoupled_uniformity(centers(agree)) + 0.3
    z = apart.requires_grad_()
    decoupled_uniformity(centers(z)).backward()
    assert (z.grad[0] * tilt).sum() > 0 > (z.grad[1] * tilt).sum()  # a step down brings both back


def test_nobody_is_a_pair_with_himself():
    """The diagonal would add ones: the loss could not fall below −log N."""
    far = 50 * torch.eye(3, dtype=torch.float64)
    assert decoupled_uniformity(far).item() == pytest.approx(-2.0 * 2 * 50**2)


def test_one_mean_for_all_is_the_worst_and_gives_no_gradient():
    z = drawn(2, 5, 3).requires_grad_()
    loss = decoupled_uniformity(centers(z), 2.0, torch.full((5, 5), 0.2))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12) and z.grad.abs().max() < 1e-12


def test_gradients():
    z, weights = drawn(3, 4, 3).requires_grad_(), torch.rand(4, 4)
    assert torch.autograd.gradcheck(lambda x: decoupled_uniformity(centers(x), 2.0, weights), (z,))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(V, N, D\), found \(5, 3\)"):
        centers(drawn(5, 3))
    with pytest.raises(ValueError, match=r"\(5, 5\), found \(4, 4\)"):
        decoupled_uniformity(drawn(5, 3), 2.0, torch.eye(4))
