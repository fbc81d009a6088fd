from __future__ import annotations

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.heads.diagonal import Diagonal


def test_weights_fall_by_kappa_and_no_further_than_the_least():
    x = torch.ones(2, 5)
    assert Diagonal(5, 2.0)(x)[1].tolist() == [1, 0.5, 0.25, 0.125, 0.0625]
    assert Diagonal(5, 2.0, least=0.2)(x)[0].tolist() == pytest.approx([1, 0.5, 0.25, 0.2, 0.2])
    wide = Diagonal(2048, 1.1).weight
    assert wide.min().item() == pytest.approx(1e-5)  # 1.1 to the 2048th is more than float32 holds


def test_it_has_nothing_to_learn_and_one_is_no_head():
    head = Diagonal(3, 1.0)
    x = torch.randn(4, 3)
    assert not list(head.parameters()) and torch.equal(head(x), x)


@pytest.mark.parametrize(("kappa", "least"), [(0.9, 0.1), (2.0, 0.0), (2.0, 1.5)])
def test_nonsense_is_refused(kappa, least):
    with pytest.raises(InputError, match="diagonal: expected kappa"):
        Diagonal(3, kappa, least)
