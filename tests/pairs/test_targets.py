from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.rng import generator
from counterpoint.pairs.targets import (
    magnified,
    mixed_across,
    mixed_with_own,
    mixture_logits,
    same_target,
)

Y = torch.tensor([3.0, 1.0, 3.0, 8.0, 2.0, 4.5])


def rows(seed: int = 0, dim: int = 4) -> Tensor:
    return normalize(torch.randn(len(Y), dim, generator=generator(seed), dtype=torch.float64), dim=1)


def test_equal_targets_belong_together_and_others_by_tolerance():
    pairs = same_target(Y)
    assert pairs.positive.nonzero().tolist() == [[0, 2], [2, 0]]
    wide = same_target(Y, 1.0)
    for i in range(6):
        for k in range(6):
            near = abs(Y[i] - Y[k]) <= 1
            assert wide.positive[i, k] == (near and i != k) and wide.negative[i, k] == (not near)


def test_weights_grow_with_the_distance_and_are_one_for_equals():
    assert magnified(Y, Y)[0].tolist() == [1, 3, 1, 6, 2, 2.5]
    assert magnified(Y, Y, "squared")[0].tolist() == [1, 5, 1, 26, 2, 3.25]
    assert (magnified(Y, Y, "none") == 1).all()
    own = torch.stack([Y[i] + torch.arange(3) for i in range(6)])
    assert torch.equal(magnified(Y, own), torch.tensor([1.0, 2, 3]).expand(6, 3))
    ages = torch.tensor([30, 41])
    assert torch.equal(magnified(ages, ages), torch.tensor([[1.0, 12], [12, 1]]))


def test_mixtures_with_the_anchor_have_its_share_and_its_share_of_the_target():
    share = torch.rand(6, 6, generator=generator(1), dtype=torch.float64)
    made = mixed_with_own(Y, share)
    for i in range(6):
        for k in range(6):
            assert (made.one[i, k], made.other[i, k]) == (i, k)
            mean = share[i, k] * Y[i] + (1 - share[i, k]) * Y[k]
            assert made.target[i, k].item() == pytest.approx(mean.item())
            assert made.there[i, k] == (Y[i] != Y[k])


def test_mixtures_of_others_meet_the_target_from_both_sides_within_the_window():
    made = mixed_across(Y, 3.0, 7, generator(2))
    for i in range(6):
        pairs = [
            (j, k)
            for j in range(6)
            for k in range(6)
            if Y[i] - 3 < Y[j] < Y[i] < Y[k] < Y[i] + 3
        ]  # fmt: skip
        assert made.there[i].sum() == min(7, len(pairs))
        for s in made.there[i].nonzero()[:, 0].tolist():
            assert (int(made.one[i, s]), int(made.other[i, s])) in pairs
    assert torch.allclose(made.target[made.there], Y[:, None].expand(-1, 7)[made.there])
    assert ((made.share > 0) & (made.share < 1)).all()


def test_the_extremes_have_no_mixtures_and_equal_targets_neither():
    """A share that is not solved for would give the wrong target, or divide by zero."""
    made = mixed_across(Y, 100.0, 5, generator(2))
    assert (
        not made.there[1].any() and not made.there[3].any() and (made.there[[0, 2, 4, 5]].sum(1) == 4).all()
    )
    same = mixed_across(torch.ones(4), 5.0, 3, generator(2))
    assert not same.there.any() and same.share.isfinite().all()
    alone = mixed_across(torch.ones(1), 5.0, 3, generator(2))
    assert not alone.there.any()


def test_every_pair_is_drawn_about_as_often():
    made = mixed_across(Y, 100.0, 4, generator(0))
    drawn = torch.cat([mixed_across(Y, 100.0, 4, generator(s)).one[0] for s in range(500)])
    counts = drawn.bincount(minlength=6)
    assert counts[[0, 2, 3, 5]].sum() == 0 and (counts[[1, 4]] > 900).all() and made.there[0].all()


@pytest.mark.parametrize("renorm", [False, True])
def test_logits_are_those_of_the_mixtures_made(renorm):
    z = rows().requires_grad_()
    for made in (
        mixed_with_own(Y, torch.rand(6, 6, generator=generator(1), dtype=torch.float64)),
        mixed_across(Y.double(), 100.0, 5, generator(2)),
    ):
        found = mixture_logits(z, made, 0.3, renorm=renorm)
        fixed = z.detach()
        m = made.share[..., None] * fixed[made.one] + (1 - made.share[..., None]) * fixed[made.other]
        m = normalize(m, dim=-1) if renorm else m
        slow = (z[:, None] * m).sum(-1) / 0.3
        torch.testing.assert_close(found, slow)
        (one,) = torch.autograd.grad((found * made.there).sin().sum(), z)
        (other,) = torch.autograd.grad((slow * made.there).sin().sum(), z)
        torch.testing.assert_close(one, other)  # mixtures are constants


def test_opposite_rows_mix_to_nothing_without_trouble():
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    made = mixed_across(torch.tensor([0.0, 2.0, 1.0]), 5.0, 1, generator(0))
    for renorm in (False, True):
        found = mixture_logits(z, made, 0.1, renorm=renorm)
        assert found[2].item() == pytest.approx(0) and found.isfinite().all()
        found.sum().backward()
    assert z.grad is not None and z.grad.isfinite().all()


def test_half_precision_is_mixed_in_single():
    made = mixed_across(Y, 100.0, 5, generator(2))
    z = rows().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mixture_logits(z, made, 0.3)
    assert torch.equal(found, mixture_logits(z.float(), made, 0.3)) and found.dtype == torch.float32
