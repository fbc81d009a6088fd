from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.objectives.contrastive import cosine_logits, info_nce
from counterpoint.objectives.multiview import averaged, mv_dhel, mv_info_nce, pairwise, poly_view
from counterpoint.pairs.ids import same_sample

TAU = 0.3
FORMS = (mv_info_nce, mv_dhel, pairwise, averaged, poly_view)


def drawn(views: int, count: int = 4, dim: int = 3, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(views, count, dim, generator=rng, dtype=torch.float64)


class Slow:
    """The formulas, one exp at a time."""

    def __init__(self, z: Tensor) -> None:
        self.u = normalize(z, dim=2).tolist()
        self.views, self.count = range(len(z)), range(z.shape[1])

    def e(self, a: list[float], b: list[float]) -> float:
        return math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / TAU)

    def top(self, i: int) -> float:
        v = self.views
        return sum(self.e(self.u[a][i], self.u[b][i]) for a in v for b in v if a != b)

    def info_nce(self, across: bool) -> float:
        losses = []
        for i in self.count:
            bottom = 0.0
            for a in self.views:
                for b in self.views:
                    for j in self.count:
                        if (a, i) != (b, j) and not (across and a == b):
                            bottom += self.e(self.u[a][i], self.u[b][j])
            losses.append(-math.log(self.top(i) / bottom))
        return sum(losses) / len(losses)

    def dhel(self) -> float:
        losses = []
        for i in self.count:
            apart = 1.0
            for a in self.views:
                apart *= sum(self.e(self.u[a][i], self.u[a][j]) for j in self.count if j != i)
            losses.append(-math.log(self.top(i) / apart))
        return sum(losses) / len(losses)

    def nt_xent(self, one: list[list[float]], other: list[list[float]]) -> float:
        rows, n = one + other, len(one)
        losses = []
        for a in range(2 * n):
            whole = sum(self.e(rows[a], rows[b]) for b in range(2 * n) if b != a)
            losses.append(-math.log(self.e(rows[a], rows[(a + n) % (2 * n)]) / whole))
        return sum(losses) / len(losses)

    def pairwise(self) -> float:
        losses = [self.nt_xent(self.u[a], self.u[b]) for a in self.views for b in self.views if a < b]
        return sum(losses) / len(losses)

    def averaged(self) -> float:
        losses = []
        for a in self.views:
            others = torch.tensor([self.u[b] for b in self.views if b != a]).mean(0).tolist()
            losses.append(self.nt_xent(self.u[a], others))
        return sum(losses) / len(losses)

    def poly_view(self) -> float:
        losses = []
        for i in self.count:
            for a in self.views:
                far = sum(
                    self.e(self.u[a][i], self.u[b][j]) for b in self.views for j in self.count if j != i
                )
                near = [self.e(self.u[a][i], self.u[b][i]) for b in self.views if b != a]
                losses += [-math.log(n / (n + far)) for n in near]
        return sum(losses) / len(losses)


@pytest.mark.parametrize("views", [2, 3, 5])
def test_all_forms_are_the_slow_loops(views):
    z = drawn(views)
    slow = Slow(z)
    for found, expected in (
        (mv_info_nce(z, TAU), slow.info_nce(across=False)),
        (mv_info_nce(z, TAU, across=True), slow.info_nce(across=True)),
        (mv_dhel(z, TAU), slow.dhel()),
        (pairwise(z, TAU), slow.pairwise()),
        (averaged(z, TAU), slow.averaged()),
        (poly_view(z, TAU), slow.poly_view()),
    ):
        assert found.item() == pytest.approx(expected, rel=1e-6 if expected == slow.averaged() else 1e-11)


def test_two_views_of_mv_dhel_are_dhel():
    z = drawn(2)
    u = normalize(z, dim=2)
    itself = torch.eye(4, dtype=torch.bool)
    apart = sum((v @ v.T / TAU).masked_fill(itself, -torch.inf).logsumexp(1) for v in u)
    dhel = (-(u[0] * u[1]).sum(1) / TAU + apart).mean()
    assert mv_dhel(z, TAU).item() == pytest.approx(dhel.item() - math.log(2), rel=1e-12)


def test_two_views_of_the_pairwise_forms_are_nt_xent():
    z = drawn(2)
    rows = z.flatten(0, 1)
    expected = info_nce(cosine_logits(rows, rows, TAU), same_sample(torch.arange(4).repeat(2))).item()
    for form in (pairwise, averaged):
        assert form(z, TAU).item() == pytest.approx(expected, rel=1e-12)


def test_the_product_over_views_does_not_overflow():
    """The released code multiplies the sums of all views before it takes the logarithm."""
    z = drawn(12, seed=1).float().requires_grad_()
    u = normalize(z.detach(), dim=2)
    itself = torch.eye(4, dtype=torch.bool)
    sums = torch.stack([(v @ v.T / 0.05).exp().masked_fill(itself, 0).sum(1) for v in u])
    assert not sums.prod(0).isfinite().all()  # what would come of it
    loss = mv_dhel(z, 0.05)
    loss.backward()
    assert loss.item() == pytest.approx(mv_dhel(z.detach().double(), 0.05).item(), rel=1e-4)
    assert z.grad.isfinite().all()


def test_nobody_stands_below_his_own_line():
    """With the diagonal left in, samples far apart would lose at least 1/τ for each view."""
    z = torch.stack([torch.eye(4, dtype=torch.float64)] * 3)
    assert mv_dhel(z, TAU).item() == pytest.approx(-math.log(6) - 1 / TAU + 3 * math.log(3))


def test_the_best_pair_counts_most():
    """A sum inside the logarithm is no mean of logarithms: one pair that agrees forgives another."""
    z = drawn(3, count=2).requires_grad_()
    with torch.no_grad():
        z[1, 0] = z[0, 0]
        z[2, 0] = -z[0, 0]
    (info,) = torch.autograd.grad(mv_info_nce(z, 0.05), z)
    (each,) = torch.autograd.grad(poly_view(z, 0.05), z)
    assert mv_info_nce(z, 0.05) < 0.2 * poly_view(z, 0.05) and info[2, 0].norm() <= each[2, 0].norm() + 1e-9


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_three_views(form):
    z = drawn(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: form(x, TAU), (z,))


@pytest.mark.parametrize("form", FORMS)
def test_one_view_is_refused(form):
    with pytest.raises(ValueError, match=r"\(V, N, D\) with V ≥ 2, found \(1, 4, 3\)"):
        form(drawn(1), TAU)
