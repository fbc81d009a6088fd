from __future__ import annotations

import pytest
import torch
from torch import Tensor

from counterpoint.core.errors import InputError
from counterpoint.core.rng import generator
from counterpoint.heads.synthetic import SyntheticPositive

X, K = (torch.randn(5, 3, generator=generator(seed)) for seed in (1, 2))


def share(seed: int) -> Tensor:
    return 0.1 * torch.rand((), generator=generator(seed))


def test_the_step_goes_away_from_the_key_by_one_share_for_all():
    made = SyntheticPositive(3, smooth=False)(X, K, generator(7))
    for x, k, h in zip(X, K, made, strict=True):
        expected = [(1 + share(7).item()) * a - share(7).item() * b for a, b in zip(x, k, strict=True)]
        assert h.tolist() == pytest.approx([float(e) for e in expected], rel=1e-5)
    assert ((made - K).norm(dim=1) > (X - K).norm(dim=1)).all()
    assert not torch.equal(made, SyntheticPositive(3, smooth=False)(X, K, generator(8)))


def test_a_step_to_nowhere_is_as_long():
    made = SyntheticPositive(3, smooth=False, away="nothing")(X, K, generator(7))
    assert torch.allclose((made - X).norm(dim=1) / (X - K).norm(dim=1), (made - X).norm(dim=1).new_full(
        (5,), ((made - X).norm(dim=1) / (X - K).norm(dim=1))[0].item()
    ))  # fmt: skip
    assert ((made - X).norm(dim=1) <= 0.1 * (X - K).norm(dim=1)).all()
    away = SyntheticPositive(3, smooth=False)(X, K, generator(7)) - X
    assert torch.nn.functional.cosine_similarity(made - X, away).abs().max() < 0.999


def test_the_perceptron_sees_the_query_and_the_step():
    torch.manual_seed(0)
    head = SyntheticPositive(3)
    assert [tuple(m.weight.shape) for m in head.smooth if hasattr(m, "weight")] == [(6, 6), (6, 6), (3, 6)]
    made = head(X, K, generator(7))
    far = SyntheticPositive(3, smooth=False)(X, K, generator(7))
    assert torch.equal(made, head.smooth(torch.cat([X, far], 1)))
    without = SyntheticPositive(3, reach=0)
    assert torch.equal(without(X, K, generator(7)), without.smooth(torch.cat([X, X], 1)))


def test_no_gradient_reaches_the_key():
    """If it did, keys could come to what is made of them, and nothing would be learned of the images."""
    x, k = X.clone().requires_grad_(), K.clone().requires_grad_()
    head = SyntheticPositive(3)
    head(x, k, generator(7)).sum().backward()
    assert k.grad is None and x.grad.count_nonzero() > 0
    assert all(p.grad is not None for p in head.parameters())


def test_gradients_are_right():
    torch.manual_seed(0)
    head = SyntheticPositive(3).double()
    assert torch.autograd.gradcheck(lambda x: head(x, K.double(), generator(7)), X.double().requires_grad_())


def test_a_step_back_is_refused():
    with pytest.raises(InputError, match="reach: expected a number ≥ 0, found -1"):
        SyntheticPositive(3, reach=-1)
