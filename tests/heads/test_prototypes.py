from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from counterpoint.core.errors import InputError
from counterpoint.heads.prototypes import Prototypes


@pytest.mark.parametrize("in_graph", [False, True])
def test_scores_are_cosines(in_graph):
    heads = Prototypes(3, 5, in_graph)
    z = 10 * torch.randn(4, 3)
    torch.testing.assert_close(heads(z), cosine_similarity(z[:, None], heads.weight[None], dim=2))
    torch.testing.assert_close(heads.weight.norm(dim=1), torch.ones(5))


def test_after_an_update_they_are_put_back_or_read_as_if_they_were():
    z = torch.randn(4, 3)
    stored, read = Prototypes(3, 5), Prototypes(3, 5, in_graph=True)
    read.load_state_dict(stored.state_dict())
    with torch.no_grad():
        for heads in (stored, read):
            heads.weight.mul_(3)
    assert stored(z).abs().max() > 1 >= read(z).abs().max()
    stored.normalize_()
    torch.testing.assert_close(stored(z), read(z))


def test_the_gradient_is_tangential_only_if_it_goes_through_the_normalization():
    z = torch.randn(4, 3, dtype=torch.float64)
    for in_graph in (False, True):
        heads = Prototypes(3, 5, in_graph).double()
        heads(z).square().sum().backward()
        along = (heads.weight.grad * heads.weight).sum(1).abs().max()
        assert (along < 1e-12) == in_graph


def test_frozen_ones_pass_the_gradient_on_but_get_none():
    heads, z = Prototypes(3, 5), torch.randn(4, 3, requires_grad=True)
    scores = heads(z, frozen=True)
    assert torch.equal(scores, heads(z))
    scores.square().sum().backward()
    assert heads.weight.grad is None and z.grad.count_nonzero()


def test_scores_are_exact_in_half_precision():
    heads, z = Prototypes(64, 8), torch.randn(4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        scores = heads(z)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, heads(z))
    assert heads(z.bfloat16()).dtype == torch.float32


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="positive dim and count"):
        Prototypes(3, 0)
