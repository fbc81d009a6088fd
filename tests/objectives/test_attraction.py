from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.attraction import attraction, repulsion


def drawn(views: int, count: int = 4, dim: int = 3, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(views, count, dim, generator=rng, dtype=torch.float64)


def weighted(distances: list[float], sharpness: float) -> float:
    """Σ of softmax(sharpness · d) times d."""
    masses = [math.exp(sharpness * d) for d in distances]
    return sum(m * d for m, d in zip(masses, distances, strict=True)) / sum(masses)


def slow(z: Tensor, t_plus: float, t_minus: float) -> tuple[float, float]:
    u = normalize(z, dim=2).tolist()
    views, count = range(len(u)), range(len(u[0]))

    def d(a: list[float], b: list[float]) -> float:
        return math.dist(a, b) ** 2

    pull = [weighted([d(u[x][i], u[k][i]) for k in views if k != x], t_plus) for x in views for i in count]
    push = [
        weighted([d(u[x][i], u[y][j]) for j in count if j != i], -t_minus)
        for x in views
        for y in views
        if x < y
        for i in count
    ]
    return sum(pull) / len(pull), -sum(push) / len(push)


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize(("t_plus", "t_minus"), [(1.0, 0.9), (0.0, 0.0), (3.0, 2.0)])
def test_they_are_the_slow_loops(views, t_plus, t_minus):
    z = drawn(views)
    pull, push = slow(z, t_plus, t_minus)
    assert attraction(z, t_plus).item() == pytest.approx(pull, rel=1e-11)
    assert repulsion(z, t_minus).item() == pytest.approx(push, rel=1e-11)


def test_farther_positives_draw_more_and_nearer_negatives_push_more():
    z = drawn(5)
    flat, sharp = (slow(z, t, t) for t in (0.0, 1.0))
    assert attraction(z, 1.0) > attraction(z, 0.0) == pytest.approx(flat[0])  # weight moves to what is far
    assert repulsion(z, 1.0) > repulsion(z, 0.0) == pytest.approx(flat[1])  # a smaller distance, negated
    assert sharp[0] > flat[0]


def test_one_positive_has_all_the_weight():
    assert attraction(drawn(2), 5.0).item() == pytest.approx(attraction(drawn(2), 0.0).item())


def test_detached_repulsion_pushes_as_the_denominator_of_info_nce():
    """τ = 1/(2t): with cosines, −t·d = cos/τ up to a constant."""
    t = 0.9
    z = drawn(2).requires_grad_()
    (found,) = torch.autograd.grad(repulsion(z, t, detach=True), z)
    u = normalize(z, dim=2)
    cosines = (u[0] @ u[1].T * (2 * t)).masked_fill(torch.eye(4, dtype=torch.bool), -torch.inf)
    (expected,) = torch.autograd.grad(cosines.logsumexp(1).mean() / t, z)
    torch.testing.assert_close(found, expected)
    (through,) = torch.autograd.grad(repulsion(z, t), z)
    assert not torch.allclose(through, expected)
    assert repulsion(z, t).item() == repulsion(z, t, detach=True).item()


def test_every_pair_of_views_has_distances_of_its_own():
    """The released code with a queue computes the first view's similarities and uses them for every view."""
    z = drawn(3).requires_grad_()
    (grad,) = torch.autograd.grad(repulsion(z, 0.9), z)
    assert (grad.norm(dim=(1, 2)) > 1e-3).all()
    with torch.no_grad():
        moved = z.clone()
        moved[2] = moved[2].roll(1, 0)
        pairs = [
            repulsion(torch.stack([a, b]), 0.9) for a, b in ((z[0], z[1]), (z[0], moved[2]), (z[1], moved[2]))
        ]
    assert repulsion(moved, 0.9).item() == pytest.approx(sum(p.item() for p in pairs) / 3)


def test_without_weights_two_clumps_are_as_good_as_a_circle():
    """Why the arm without weights fails: the mean distance has a degenerate optimum."""
    angle = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    clumps = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(4, 1)
    values = {t: [repulsion(torch.stack([x, x]), t).item() for x in (circle, clumps)] for t in (0.0, 0.9)}
    assert values[0.0][0] == pytest.approx(values[0.0][1])
    assert values[0.9][0] < values[0.9][1] - 0.1


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_through_the_weights_are_those_of_the_formula(detach):
    z = drawn(3).requires_grad_()
    for term in (attraction, repulsion):
        if not detach:
            assert torch.autograd.gradcheck(lambda x, term=term: term(x, 0.7), (z,))
        else:
            grads = [torch.autograd.grad(term(z, 0.7, detach=d), z)[0] for d in (True, False)]
            assert not torch.allclose(*grads)


def test_one_sample_is_not_pushed_and_one_view_is_refused():
    z = drawn(3, count=1).requires_grad_()
    loss = repulsion(z, 0.9)
    loss.backward()
    assert loss.item() == 0 and not z.grad.any()
    for term in (attraction, repulsion):
        with pytest.raises(ValueError, match=r"\(V, N, D\) with V ≥ 2, found \(1, 4, 3\)"):
            term(drawn(1))
