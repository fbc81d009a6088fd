from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from counterpoint.core.errors import InputError
from counterpoint.heads.propagation import Propagation


def slow(x: Tensor, value: Tensor, sharpness: float) -> Tensor:
    """(D, P) and (D, P) → (D, P), place by place."""
    rows = []
    for i in range(x.shape[1]):
        total = torch.zeros(len(value))
        for j in range(x.shape[1]):
            cosine = x[:, i] @ x[:, j] / (x[:, i].norm() * x[:, j].norm())
            total = total + max(cosine.item(), 0.0) ** sharpness * value[:, j] / value[:, j].norm()
        rows.append(total / total.norm())
    return torch.stack(rows, 1)


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("sharpness", [1.0, 2.0, 4.0])
def test_it_is_the_slow_sum_over_places(layers, sharpness):
    head, x = Propagation(5, layers, sharpness), torch.randn(2, 5, 2, 3)
    found, value = head(x), head.transform(x)
    for n in range(2):
        expected = slow(x[n].flatten(1), value[n].flatten(1), sharpness)
        torch.testing.assert_close(found[n].flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_weights_are_not_a_softmax():
    """Two places at 60° with γ = 2: weights 1 and ¼; a softmax of the cosines would have 1 and 0.61."""
    x = torch.tensor([[1.0, 0.5], [0.0, 0.75**0.5]])[None, :, None]
    y = Propagation(2, 0)(x)[0, :, 0, 0]
    torch.testing.assert_close(y, normalize(torch.tensor([1.125, 0.25 * 0.75**0.5]), dim=0))


def test_places_that_are_opposite_or_of_another_sample_are_not_heard():
    x = torch.tensor([[1.0, -1.0], [0.0, 0.1]])[None, :, None]
    torch.testing.assert_close(Propagation(2, 0)(x), normalize(x, dim=1))
    one, other = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    head = Propagation(4, 1)
    torch.testing.assert_close(head(torch.cat([one, other]))[:1], head(one))


def test_places_may_stand_in_any_order():
    head, x = Propagation(3, 1), torch.randn(1, 3, 1, 6)
    order = torch.randperm(6)
    torch.testing.assert_close(head(x[..., order]), head(x)[..., order])


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_gradients(sharpness):
    head = Propagation(3, 1, sharpness).double()
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, (x,))
    orthogonal = torch.eye(4).view(1, 4, 2, 2).requires_grad_()  # all likenesses lie at the clamp
    Propagation(4, 0, sharpness)(orthogonal).sum().backward()
    assert orthogonal.grad is not None and orthogonal.grad.isfinite().all()


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="sharpness: expected a positive number"):
        Propagation(3, 1, 0.0)
