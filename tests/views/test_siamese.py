from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from counterpoint.core.rng import generator
from counterpoint.views import siamese
from counterpoint.views.siamese import KINDS, drawn_change

X = torch.randn(3, 3, 12, 12, generator=generator(0), dtype=torch.float64)


def forced(kind: str, u: list[float], monkeypatch) -> Tensor:
    """``X`` changed in one way with given numbers."""
    monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor(KINDS.index(kind)))
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(u))
    return drawn_change(generator(0))(X)


def test_one_change_is_the_same_for_all_it_is_applied_to():
    for seed in range(12):
        change = drawn_change(generator(seed))
        assert torch.equal(
            change(X)[1:2], change(X[1:2])
        )  # no sample sees another, none has a draw of its own
        assert torch.equal(drawn_change(generator(seed))(X), change(X))


def test_all_kinds_are_drawn_and_most_change_something():
    seen = [drawn_change(generator(seed)) for seed in range(60)]
    assert sum(not torch.equal(change(X), X) for change in seen) > 40
    kinds = Counter(int(torch.randint(len(KINDS), (), generator=generator(seed))) for seed in range(60))
    assert set(kinds) == set(range(len(KINDS)))


@pytest.mark.parametrize("seed", range(8))
def test_gradients_flow(seed):
    change, x = drawn_change(generator(seed)), X[:1, :, :6, :6].clone().requires_grad_()
    assert torch.autograd.gradcheck(change, (x,))


def test_hand_values(monkeypatch):
    half = [0.5, 0.5, 0.5]
    for kind in ("color", "crop", "rotate"):
        assert torch.allclose(forced(kind, half, monkeypatch), X)
    assert torch.allclose(forced("flip", [0.1, 0, 0], monkeypatch), X.flip(3))
    assert torch.equal(forced("flip", [0.9, 0, 0], monkeypatch), forced("crop", half, monkeypatch))
    cut = forced("cutout", half, monkeypatch)
    assert (cut[:, :, 3:9, 3:9] == 0).all() and cut.count_nonzero() == 3 * 3 * (144 - 36)
    shifted = forced("crop", [5 / 6, 0.5, 0], monkeypatch)  # by 1/12 of the side: one pixel
    assert torch.allclose(shifted[..., :-1], X[..., 1:], atol=1e-6) and (shifted[..., -1].abs() < 1e-6).all()
    bright = forced("color", [1.0, 0.5, 0.5], monkeypatch)
    assert torch.allclose(bright, X + 0.5)
    gray = forced("color", [0.5, 0.0, 0.5], monkeypatch)
    assert torch.allclose(gray, X.mean(1, keepdim=True).expand_as(X))
    assert siamese.KINDS == ("color", "crop", "cutout", "flip", "scale", "rotate")
