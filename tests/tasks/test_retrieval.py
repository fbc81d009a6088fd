from __future__ import annotations

import pytest
import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.tasks.retrieval import Retrieval


def test_within_a_role_by_hand(toys):
    train = toys.Table(torch.tensor([[1.0, 0], [0, 1], [1, 1]]), torch.tensor([0, 1, 1]))
    test = toys.Table(torch.tensor([[3.0, 1], [0, 2], [5, 5]]), torch.tensor([0, 1, 2]))
    out = Retrieval.Config(at=(1, 2)).build()(lambda _: toys.flat, train, test, 0)
    # the first finds rows 0, 2, 1; the second 1, 2, 0; the class of the third is not there
    assert out == pytest.approx({"recall@1": 1, "recall@2": 1, "map": 1, "median_place": 1})
    turned = toys.Table(torch.tensor([[1.0, 3]]), torch.tensor([0]))
    out = Retrieval.Config(at=(1, 3)).build()(lambda _: toys.flat, train, turned, 0)
    assert out == pytest.approx({"recall@1": 0, "recall@3": 1, "map": 1 / 3, "median_place": 3})


@pytest.mark.parametrize("block", [1, 2**22])
def test_between_roles_the_same_sample_is_right(toys, block, monkeypatch):
    monkeypatch.setattr("counterpoint.tasks.retrieval.BLOCK", block)

    class Both(toys.Table):
        provides = frozenset()

    x = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    data = toys.Table(x, key="fixed")
    data.entries["moving"] = data.entries["fixed"].flip(1)
    data.provides = frozenset(data.entries)
    networks = {"fixed": toys.flat, "moving": nn.Flatten()}
    task = Retrieval.Config(role="fixed", answers="moving").build()
    assert task(networks.__getitem__, data, data, 0)["recall@1"] < 0.6
    networks["moving"].forward = lambda x: x.flip(1).flatten(1)
    assert task(networks.__getitem__, data, data, 0)["recall@1"] == 1


def test_no_class_in_common_is_refused(toys):
    train = toys.Table(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="of the training classes"):
        Retrieval.Config().build()(
            lambda _: toys.flat, train, toys.Table(torch.eye(2), torch.tensor([2, 3])), 0
        )
